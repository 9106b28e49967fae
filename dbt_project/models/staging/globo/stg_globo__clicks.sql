-- One row per click, with whether it fell within the days that the data set documents.
{{ config(materialized='table') }}

{# Sessions start on these days; the clicks of a few go on for weeks. #}
{% set first_day, last_day = '2017-10-01', '2017-10-17' %}

with

clicks as (

    select * from {{ source('globo', 'clicks') }}

),

final as (

    select
        concat_ws('/', user_id, session_id, click_article_id, epoch_ms(click_timestamp)) as event_id,
        cast(user_id as varchar) as user_id,
        cast(session_id as varchar) as session_id,
        cast(click_article_id as varchar) as item_id,
        cast(click_country as varchar) as country,
        map {
            'environment': cast(click_environment as varchar),
            'device_group': cast(click_device_group as varchar),
            'os': cast(click_os as varchar),
            'country': cast(click_country as varchar),
            'region': cast(click_region as varchar),
            'referrer_type': cast(click_referrer_type as varchar)
        } as context,
        {{ day_of('click_timestamp') }} between date '{{ first_day }}' and date '{{ last_day }}' as is_documented_day,
        click_timestamp as event_timestamp
    from clicks

)

select * from final
