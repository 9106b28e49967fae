-- One row per user, stamp with an event of theirs in the 90 days before, and version. Stamps are every midnight, and at
-- hourly grain each hour at which an event of theirs entered.
{{ config(unique_key=['user_id', 'event_timestamp', 'created_timestamp']) }}
{% set since = first_new_tick() %}
{% set spans = ['1d', '7d', '30d', '90d'] %}

with

known_events as (

    select * from {{ ref('int_known_events') }}
    where user_id is not null and (is_positive or is_refund)

),

items as (

    select * from {{ ref('int_items') }}

),

-- What was known of an item's price from each tick on: an older version that comes to light later changes nothing.
prices as (

    select
        item_id,
        enters_on as known_on,
        {{ value_at_greatest('price', 'turn') }} as price
    from (
        select
            *,
            row_number() over (
                partition by item_id order by not is_placeholder, event_timestamp, created_timestamp
            ) as turn,
            max(row(not is_placeholder, event_timestamp)) over (partition by item_id order by enters_on) as latest
        from items
    )
    where row(not is_placeholder, event_timestamp) = latest
    group by item_id, enters_on

),

events as (

    select
        known_events.*,
        case when known_events.is_positive then {{ exact('prices.price') }} end as price
    from known_events
    {{ asof_left_join('prices', 'known_events.item_id = prices.item_id', 'known_events.enters_on', 'prices.known_on') }}

),

ticks as (

    select
        user_id,
        happened_on,
        enters_on,
        count(*) as events,
        count(*) filter (where is_positive) as interactions,
        sum(value) as value,
        count(price) as priced,
        coalesce(sum(price), 0) as price
    from events
    group by user_id, happened_on, enters_on

),

-- On time. A tick's events are inside a window for the stamps from the one they enter at to the window's length after
-- they happened. So they are added at the first and taken away after the last, and a running sum is the window.
windows as (

    {% for span in spans %}
    select
        *,
        '{{ span }}' as span,
        greatest(enters_on, {{ since }}) as starts_on,
        {{ later('happened_on', span) }} as last_on
    from ticks
    where {{ later('happened_on', span) }} >= greatest(enters_on, {{ since }})
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

item_windows as (

    {{ distinct_spans('events', 'user_id', 'item_id', '90d', since) }}

),

session_windows as (

    {{ distinct_spans('events', 'user_id', 'session_id', '90d', since) }}

),

changes as (

    {% for stamp, sign in [('starts_on', '+'), (add_ticks('last_on', 1), '-')] %}
    select
        user_id,
        {{ stamp }} as stamp,
        span,
        {{ sign }}events as events,
        {{ sign }}interactions as interactions,
        {{ sign }}value as value,
        {{ sign }}priced as priced,
        {{ sign }}price as price,
        0 as items,
        0 as sessions,
        cast(null as timestamp) as first_on,
        cast(null as timestamp) as last_on,
        cast(null as timestamp) as entered_on
    from windows
    where {{ stamp }} <= {{ last_stamp() }}
    union all
    select user_id, {{ stamp }}, '', 0, 0, 0, 0, 0, {{ sign }}1, 0, null, null, null from item_windows
    where {{ stamp }} <= {{ last_stamp() }}
    union all
    select user_id, {{ stamp }}, '', 0, 0, 0, 0, 0, 0, {{ sign }}1, null, null, null from session_windows
    where {{ stamp }} <= {{ last_stamp() }}
    union all
    {% endfor %}
    select
        user_id,
        greatest(enters_on, {{ since }}),
        '',
        0, 0, 0, 0, 0, 0, 0,
        case when interactions > 0 then happened_on end,
        case when interactions > 0 then happened_on end,
        enters_on
    from ticks

),

totals as (

    select
        user_id,
        stamp,
        {% for span in spans %}
        coalesce(sum(interactions) filter (where span = '{{ span }}'), 0) as interactions_{{ span }},
        coalesce(sum(value) filter (where span = '{{ span }}'), 0) as value_{{ span }},
        {% endfor %}
        coalesce(sum(events) filter (where span = '90d'), 0) as events_90d,
        coalesce(sum(priced) filter (where span = '90d'), 0) as priced_90d,
        coalesce(sum(price) filter (where span = '90d'), 0) as price_90d,
        sum(items) as distinct_items_90d,
        sum(sessions) as sessions_90d,
        min(first_on) as first_on,
        max(last_on) as last_on,
        max(entered_on) as entered_on
    from changes
    group by user_id, stamp

),

running as (

    select
        user_id,
        stamp,
        lead(stamp) over by_stamp as next_stamp,
        {% for span in spans %}
        sum(interactions_{{ span }}) over by_stamp as interactions_{{ span }},
        sum(value_{{ span }}) over by_stamp as value_{{ span }},
        {% endfor %}
        sum(events_90d) over by_stamp as events_90d,
        sum(priced_90d) over by_stamp as priced_90d,
        sum(price_90d) over by_stamp as price_90d,
        sum(distinct_items_90d) over by_stamp as distinct_items_90d,
        sum(sessions_90d) over by_stamp as sessions_90d,
        min(first_on) over by_stamp as first_on,
        max(last_on) over by_stamp as last_on,
        max(entered_on) over by_stamp as entered_on
    from totals
    window by_stamp as (partition by user_id order by stamp)

),

on_time as (

    select
        * exclude (stamp, next_stamp, entered_on),
        {{ each_stamp(
            'stamp', 'least(' ~ add_ticks('next_stamp', -1) ~ ', ' ~ last_stamp() ~ ')', 'entered_on'
        ) }} as stamp
    from running
    where events_90d > 0

),

-- Late. Few enough to be counted from the events themselves.
late_versions as (

    {{ late_versions('events', 'user_id', since) }}

),

late as (

    select
        late_versions.user_id,
        {% for span in spans %}
        {% set inside = 'events.happened_on >= ' ~ earlier('late_versions.stamp', span) %}
        count(*) filter (where events.is_positive and {{ inside }}) as interactions_{{ span }},
        coalesce(sum(events.value) filter (where {{ inside }}), 0) as value_{{ span }},
        {% endfor %}
        {% set inside = 'events.happened_on >= ' ~ earlier('late_versions.stamp', '90d') %}
        count(*) filter (where {{ inside }}) as events_90d,
        count(events.price) filter (where {{ inside }}) as priced_90d,
        coalesce(sum(events.price) filter (where {{ inside }}), 0) as price_90d,
        count(distinct events.item_id) filter (where events.is_positive and {{ inside }}) as distinct_items_90d,
        count(distinct events.session_id) filter (where events.is_positive and {{ inside }}) as sessions_90d,
        min(events.happened_on) filter (where events.is_positive) as first_on,
        max(events.happened_on) filter (where events.is_positive) as last_on,
        late_versions.stamp,
        late_versions.known_on
    from late_versions
    inner join events
        on late_versions.user_id = events.user_id
        and events.happened_on < late_versions.stamp
        and events.enters_on <= late_versions.known_on
    group by late_versions.user_id, late_versions.stamp, late_versions.known_on
    having
        {{ is_midnight('late_versions.stamp') }}
        or bool_or(late_versions.stamp in (events.enters_on, {{ add_ticks('events.happened_on', 1) }}))

),

versions as (

    select *, stamp as known_on from on_time
    union all by name
    select * from late where events_90d > 0

),

final as (

    select
        user_id,
        stamp as event_timestamp,
        known_on as created_timestamp,
        {% for span in spans %}
        cast(interactions_{{ span }} as bigint) as user_interactions_{{ span }},
        {% endfor %}
        {% for span in spans %}
        cast(value_{{ span }} as double) as user_value_{{ span }},
        {% endfor %}
        cast(sessions_90d as bigint) as user_sessions_90d,
        cast(distinct_items_90d as bigint) as user_distinct_items_90d,
        case when priced_90d > 0 then cast(price_90d as double) / priced_90d end as user_mean_item_price_90d,
        {{ whole('day', add_ticks('last_on', 1), 'stamp') }} as user_days_since_last_event,
        {{ whole('day', add_ticks('first_on', 1), 'stamp') }} as user_tenure_days
    from versions

)

select * from final
