-- One row per item, tick at which something known of the item changed, and version.
{{ config(unique_key=['item_id', 'event_timestamp', 'created_timestamp']) }}
{% set since = first_new_tick() %}

with

items as (

    -- The version that holds is the latest one; a placeholder gives way to any other.
    select
        *,
        row_number() over (
            partition by item_id order by not is_placeholder, event_timestamp, created_timestamp
        ) as turn
    from {{ ref('int_items') }}
    where enters_on <= {{ last_stamp() }}

),

versions as (

    {{ change_versions('items', 'item_id', since) }}

),

latest as (

    select
        versions.item_id,
        versions.stamp,
        versions.known_on,
        max(items.turn) as turn
    from versions
    inner join items
        on versions.item_id = items.item_id
        and items.happened_on < versions.stamp
        and items.enters_on <= versions.known_on
    group by versions.item_id, versions.stamp, versions.known_on

),

final as (

    select
        latest.item_id,
        latest.stamp as event_timestamp,
        latest.known_on as created_timestamp,
        items.title as item_title,
        items.category as item_category,
        items.brand as item_brand,
        items.price as item_price
    from latest
    inner join items on latest.item_id = items.item_id and latest.turn = items.turn

)

select * from final
