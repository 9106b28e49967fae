-- One row per reader and moment at which their country came to differ from the one before.

with

clicks as (

    select * from {{ ref('stg_globo__clicks') }}

),

moments as (

    select
        user_id,
        event_timestamp,
        min(country) as country
    from clicks
    group by all

),

versions as (

    select
        *,
        row_number() over by_moment as turn,
        lag(country) over by_moment as country_before
    from moments
    window by_moment as (partition by user_id order by event_timestamp)

),

final as (

    select
        user_id,
        country,
        cast(null as map(varchar, varchar)) as attributes,
        cast(null as boolean) as consent,
        event_timestamp,
        event_timestamp as created_timestamp
    from versions
    where turn = 1 or country is distinct from country_before

)

select * from final
