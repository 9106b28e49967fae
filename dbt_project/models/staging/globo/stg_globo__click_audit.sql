-- One row per thing that became of landed clicks.

with

clicks as (

    select * from {{ ref('stg_globo__clicks') }}

),

final as (

    -- Both are events: a reader who came back after the last documented day did come back.
    select
        case when is_documented_day then 'event' else 'event_outside_documented_days' end as outcome,
        count(*) as clicks
    from clicks
    group by outcome

)

select * from final
