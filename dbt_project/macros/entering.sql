{# Two ticks place an event in every bitemporal table: the last one before it, at which its day or hour began, and the
   first one from which a row may hold it, after it happened and once it was known. An event is late when the second is
   not the tick after the first. #}

{% macro happened_on() %}{{ tick_of('event_timestamp') }}{% endmacro %}

{% macro enters_on() -%}
    greatest({{ add_ticks(tick_of('event_timestamp'), 1) }}, {{ tick_at_or_after('created_timestamp') }})
{%- endmacro %}

{# The first tick whose day before no longer holds what happened on a tick. #}
{% macro hours_until(happened_on) %}{{ add_ticks(add_days(happened_on, 1), 1) }}{% endmacro %}

{# The versions that late news could make of a dense table: one row per key, stamp and tick at which an event before
   that stamp had newly become known. `events` has the key, happened_on and enters_on. #}
{% macro late_versions(events, key, since) %}
    select distinct {{ key }}, stamp, known_on
    from (
        select
            {{ key }},
            {{ each_tick(
                'greatest(' ~ add_ticks('happened_on', 1) ~ ', ' ~ add_days('enters_on', -var('lateness_days')) ~ ')',
                add_ticks('enters_on', -1)
            ) }} as stamp,
            enters_on as known_on
        from (select distinct {{ key }}, happened_on, enters_on from {{ events }})
        where enters_on > {{ add_ticks('happened_on', 1) }} and enters_on >= {{ since }}
    )
{% endmacro %}

{# The rows of a table that holds one row per change: (key, stamp, known_on). On time, a row stands at every tick at
   which something entered. Late news corrects the stamps it could still have changed, among them the one it would have
   made had it been on time. #}
{% macro change_versions(events, key, since) %}
    select distinct {{ key }}, enters_on as stamp, enters_on as known_on
    from {{ events }}
    where enters_on >= {{ since }}

    union

    select late.{{ key }}, stamps.stamp, late.known_on
    from ({{ late_versions(events, key, since) }}) as late
    inner join (
        select {{ key }}, enters_on as stamp, enters_on as stamp_known_on
        from {{ events }}
        union
        select {{ key }}, {{ add_ticks('happened_on', 1) }}, enters_on
        from {{ events }}
        where enters_on <= {{ add_days(add_ticks('happened_on', 1), var('lateness_days')) }}
    ) as stamps
        on late.{{ key }} = stamps.{{ key }}
        and late.stamp = stamps.stamp
        and stamps.stamp_known_on <= late.known_on
{% endmacro %}

{# How a distinct count over a window becomes a sum: a pair (key, other) is inside the window of `span` during the
   union of the spans of its events, written as disjoint runs of stamps [starts_on, last_on]. #}
{% macro distinct_spans(events, key, other, span, since) %}
    select {{ key }}, {{ other }}, starts_on, last_on
    from (
        select
            {{ key }},
            {{ other }},
            greatest(
                enters_on,
                {{ since }},
                coalesce({{ add_ticks(
                    'max(' ~ later('happened_on', span) ~ ') over (partition by ' ~ key ~ ', ' ~ other
                    ~ ' order by enters_on, happened_on rows between unbounded preceding and 1 preceding)', 1
                ) }}, enters_on)
            ) as starts_on,
            {{ later('happened_on', span) }} as last_on
        from (
            select distinct {{ key }}, {{ other }}, happened_on, enters_on
            from {{ events }}
            where is_positive and {{ key }} is not null and {{ other }} is not null
                and {{ later('happened_on', span) }} >= {{ since }}
        )
    )
    where starts_on <= last_on
{% endmacro %}
