-- One row per item, stamp at which it has a neighbour, and version.
{{ config(materialized='view') }}

with

neighbours as (

    select * from {{ ref('int_item_neighbours') }}

),

final as (

    select
        item_id,
        event_timestamp,
        created_timestamp,
        neighbour_item_ids,
        neighbour_scores
    from neighbours

)

select * from final
