-- One row per click. A click is known the moment it happens.

with

clicks as (

    select
        *,
        'click' as event_type,
        cast(null as double) as value
    from {{ ref('stg_globo__clicks') }}

),

final as (

    {{ contract_events('clicks') }}

)

select * from final
