-- One row per item, stamp with an event of the item in the 90 days before, and version. Stamps are every midnight, and
-- at hourly grain every hour from when an event enters to the first whose day before no longer holds it.
{{ config(unique_key=['item_id', 'event_timestamp', 'created_timestamp']) }}
{% set since = first_new_tick() %}
{% set hours = ['1h', '6h'] if var('grain') == 'hour' else [] %}
{% set interaction_spans = hours + ['1d', '7d', '30d', '90d'] %}
{% set value_spans = ['7d', '30d', '90d'] %}
{% set user_spans = ['7d', '30d'] %}

with

events as (

    select * from {{ ref('int_known_events') }}
    where is_positive or is_refund or is_impression

),

ticks as (

    select
        item_id,
        happened_on,
        enters_on,
        count(*) as events,
        count(*) filter (where is_positive) as interactions,
        coalesce(sum(value) filter (where is_positive or is_refund), 0) as value,
        count(*) filter (where is_impression) as impressions,
        count(*) filter (where is_click_through) as clicks
    from events
    group by item_id, happened_on, enters_on

),

-- On time. A tick's events are inside a window for the stamps from the one they enter at to the window's length after
-- they happened. So they are added at the first and taken away after the last, and a running sum is the window.
windows as (

    {% for span in interaction_spans %}
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

{% for span in user_spans %}
user_windows_{{ span }} as (

    {{ distinct_spans('events', 'item_id', 'user_id', span, since) }}

),
{% endfor %}

changes as (

    {% for stamp, sign in [('starts_on', '+'), (add_ticks('last_on', 1), '-')] %}
    select
        item_id,
        {{ stamp }} as stamp,
        span,
        {{ sign }}events as events,
        {{ sign }}interactions as interactions,
        {{ sign }}value as value,
        {{ sign }}impressions as impressions,
        {{ sign }}clicks as clicks,
        0 as users,
        cast(null as timestamp) as first_on,
        cast(null as timestamp) as last_on,
        cast(null as timestamp) as hours_until
    from windows
    where {{ stamp }} <= {{ last_stamp() }}
    union all
    {% for span in user_spans %}
    select item_id, {{ stamp }}, '{{ span }}', 0, 0, 0, 0, 0, {{ sign }}1, null, null, null
    from user_windows_{{ span }}
    where {{ stamp }} <= {{ last_stamp() }}
    union all
    {% endfor %}
    {% endfor %}
    select
        item_id,
        greatest(enters_on, {{ since }}),
        '',
        0, 0, 0, 0, 0, 0,
        case when interactions > 0 then happened_on end,
        case when interactions > 0 then happened_on end,
        greatest(enters_on, {{ hours_until('happened_on') }})
    from ticks

),

totals as (

    select
        item_id,
        stamp,
        {% for span in interaction_spans %}
        coalesce(sum(interactions) filter (where span = '{{ span }}'), 0) as interactions_{{ span }},
        {% endfor %}
        {% for span in value_spans %}
        coalesce(sum(value) filter (where span = '{{ span }}'), 0) as value_{{ span }},
        {% endfor %}
        {% for span in user_spans %}
        coalesce(sum(users) filter (where span = '{{ span }}'), 0) as users_{{ span }},
        {% endfor %}
        coalesce(sum(impressions) filter (where span = '30d'), 0) as impressions_30d,
        coalesce(sum(clicks) filter (where span = '30d'), 0) as clicks_30d,
        coalesce(sum(events) filter (where span = '90d'), 0) as events_90d,
        min(first_on) as first_on,
        max(last_on) as last_on,
        max(hours_until) as hours_until
    from changes
    group by item_id, stamp

),

running as (

    select
        item_id,
        stamp,
        lead(stamp) over by_stamp as next_stamp,
        {% for span in interaction_spans %}
        sum(interactions_{{ span }}) over by_stamp as interactions_{{ span }},
        {% endfor %}
        {% for span in value_spans %}
        sum(value_{{ span }}) over by_stamp as value_{{ span }},
        {% endfor %}
        {% for span in user_spans %}
        sum(users_{{ span }}) over by_stamp as users_{{ span }},
        {% endfor %}
        sum(impressions_30d) over by_stamp as impressions_30d,
        sum(clicks_30d) over by_stamp as clicks_30d,
        sum(events_90d) over by_stamp as events_90d,
        min(first_on) over by_stamp as first_on,
        max(last_on) over by_stamp as last_on,
        max(hours_until) over by_stamp as hours_until
    from totals
    window by_stamp as (partition by item_id order by stamp)

),

on_time as (

    select
        * exclude (stamp, next_stamp, hours_until),
        {{ each_stamp(
            'stamp', 'least(' ~ add_ticks('next_stamp', -1) ~ ', ' ~ last_stamp() ~ ')', 'hours_until'
        ) }} as stamp
    from running
    where events_90d > 0

),

-- Late. Few enough to be counted from the events themselves.
late_versions as (

    {{ late_versions('events', 'item_id', since) }}

),

late as (

    select
        late_versions.item_id,
        {% for span in interaction_spans %}
        {% set inside = 'events.happened_on >= ' ~ earlier('late_versions.stamp', span) %}
        count(*) filter (where events.is_positive and {{ inside }}) as interactions_{{ span }},
        {% endfor %}
        {% for span in value_spans %}
        {% set inside = 'events.happened_on >= ' ~ earlier('late_versions.stamp', span) %}
        coalesce(sum(events.value) filter (where (events.is_positive or events.is_refund) and {{ inside }}), 0)
            as value_{{ span }},
        {% endfor %}
        {% for span in user_spans %}
        {% set inside = 'events.happened_on >= ' ~ earlier('late_versions.stamp', span) %}
        count(distinct events.user_id) filter (where events.is_positive and {{ inside }}) as users_{{ span }},
        {% endfor %}
        {% set inside = 'events.happened_on >= ' ~ earlier('late_versions.stamp', '30d') %}
        count(*) filter (where events.is_impression and {{ inside }}) as impressions_30d,
        count(*) filter (where events.is_click_through and {{ inside }}) as clicks_30d,
        count(*) filter (where events.happened_on >= {{ earlier('late_versions.stamp', '90d') }}) as events_90d,
        min(events.happened_on) filter (where events.is_positive) as first_on,
        max(events.happened_on) filter (where events.is_positive) as last_on,
        late_versions.stamp,
        late_versions.known_on
    from late_versions
    inner join events
        on late_versions.item_id = events.item_id
        and events.happened_on < late_versions.stamp
        and events.enters_on <= late_versions.known_on
    group by late_versions.item_id, late_versions.stamp, late_versions.known_on
    having
        {{ is_midnight('late_versions.stamp') }}
        or late_versions.stamp <= {{ hours_until('max(events.happened_on)') }}
        or bool_or(late_versions.stamp = events.enters_on)

),

versions as (

    select *, stamp as known_on from on_time
    union all by name
    select * from late where events_90d > 0

),

final as (

    select
        item_id,
        stamp as event_timestamp,
        known_on as created_timestamp,
        {% for span in interaction_spans if span not in hours %}
        cast(interactions_{{ span }} as bigint) as item_interactions_{{ span }},
        {% endfor %}
        {% for span in value_spans %}
        cast(value_{{ span }} as double) as item_value_{{ span }},
        {% endfor %}
        {% for span in user_spans %}
        cast(users_{{ span }} as bigint) as item_users_{{ span }},
        {% endfor %}
        cast(impressions_30d as bigint) as item_impressions_30d,
        case when impressions_30d > 0 then (clicks_30d + 1.0::double) / (impressions_30d + 20) end
            as item_click_through_30d,
        ((interactions_7d + 1.0::double) / 7) / ((interactions_30d + 1.0::double) / 30) as item_trend_7d,
        {{ whole('day', add_ticks('last_on', 1), 'stamp') }} as item_days_since_last_event,
        {{ whole('day', add_ticks('first_on', 1), 'stamp') }} as item_age_days,
        {{ if_hourly('cast(interactions_1h as bigint)', 'bigint') }} as item_interactions_1h,
        {{ if_hourly('cast(interactions_6h as bigint)', 'bigint') }} as item_interactions_6h,
        {{ if_hourly(whole('hour', add_ticks('first_on', 1), 'stamp'), 'bigint') }} as item_age_hours
    from versions

)

select * from final
