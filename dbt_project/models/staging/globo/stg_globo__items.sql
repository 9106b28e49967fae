-- One row per article: nothing is known of it but when it was first clicked.

with

clicks as (

    select * from {{ ref('stg_globo__clicks') }}

),

final as (

    select
        item_id,
        cast(null as varchar) as title,
        cast(null as varchar) as description,
        cast(null as varchar) as category,
        cast(null as varchar) as brand,
        cast(null as map(varchar, varchar)) as attributes,
        cast(null as double) as price,
        min(event_timestamp) as event_timestamp,
        min(event_timestamp) as created_timestamp
    from clicks
    group by item_id

)

select * from final
