-- One row per click. A click is known the moment it happens.

with

clicks as (

    select * from {{ ref('stg_globo__clicks') }}

),

final as (

    select
        event_id,
        user_id,
        item_id,
        session_id,
        cast(null as varchar) as request_id,
        'click' as event_type,
        cast(null as varchar) as release,
        context,
        cast(null as double) as value,
        cast(null as integer) as position,
        cast(null as double) as propensity,
        event_timestamp,
        event_timestamp as created_timestamp
    from clicks

)

select * from final
