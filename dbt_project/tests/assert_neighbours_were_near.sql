-- An item and its best neighbour have the share of what was taken near the item that their score says, in events before
-- the stamp that were known by created_timestamp: with a half-life, counted again for the last versions. A session that
-- goes on past the stamp is one too many here.
{{ config(enabled=var('neighbour_half_life_hours') > 0) }}
{% set half_life = var('neighbour_half_life_hours') %}
{% set window_hours = [(8 * half_life) | round(0, 'ceil') | int, {'day': 24, 'hour': 1}[var('grain')]] | max %}

with

told as (

    select
        item_id,
        event_timestamp as stamp,
        created_timestamp as known_on,
        neighbour_item_ids[1] as neighbour_id,
        neighbour_scores[1] as score
    from {{ ref('item_neighbours') }}
    where created_timestamp in (
        -- six hours of Globo took DuckDB five seconds
        select distinct created_timestamp from {{ ref('item_neighbours') }}
        where created_timestamp <= {{ as_of() }}
        order by created_timestamp desc
        limit 6
    )

),

versions as (

    select distinct stamp, known_on from told

),

session_items as (

    select * from {{ ref('int_session_items') }}
    where session_id in (
        select session_id from {{ ref('int_session_items') }}
        where happened_on >= (select min(stamp) from versions) - interval {{ window_hours }} hour
    )

),

placed as (

    select
        versions.stamp,
        versions.known_on,
        session_items.session_id,
        session_items.item_id,
        {{ tick_of('min(session_items.happened_at)') }} as happened_on,
        row_number() over (
            partition by versions.stamp, versions.known_on, session_items.session_id
            order by min(session_items.happened_at), session_items.item_id
        ) as place
    from versions
    inner join session_items
        on session_items.happened_on < versions.stamp
        and session_items.enters_on <= versions.known_on
    group by versions.stamp, versions.known_on, session_items.session_id, session_items.item_id

),

pairs as (

    select
        one.stamp,
        one.known_on,
        one.item_id as earlier,
        next.item_id as later,
        power(0.5, {{ whole('hour', 'next.happened_on', 'next.stamp') }} / {{ half_life }}) / (next.place - one.place)
            as weight
    from placed as one
    inner join placed as next
        on one.stamp = next.stamp
        and one.known_on = next.known_on
        and one.session_id = next.session_id
        and next.place between one.place + 1 and one.place + 10
    where next.happened_on >= next.stamp - interval {{ window_hours }} hour

),

near as (

    select stamp, known_on, earlier as item_id, later as other_id, weight from pairs
    union all
    select stamp, known_on, later as item_id, earlier as other_id, 0.7 * weight as weight from pairs

),

shares as (

    select
        told.stamp,
        told.known_on,
        told.item_id,
        sum(near.weight) filter (where near.other_id = told.neighbour_id) / sum(near.weight) as share
    from told
    inner join near
        on told.stamp = near.stamp and told.known_on = near.known_on and told.item_id = near.item_id
    group by told.stamp, told.known_on, told.item_id

),

final as (

    select told.*, shares.share
    from told
    left join shares
        on told.stamp = shares.stamp and told.known_on = shares.known_on and told.item_id = shares.item_id
    where shares.share is null or abs(told.score - shares.share) > 1e-5

)

select * from final
