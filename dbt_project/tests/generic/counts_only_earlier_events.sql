{#
  A row counts the positive events of its user, or its item, of the day and of the 90 days before its stamp that were
  known at its created_timestamp: counted again from the events, for the versions of the last days. An event inside
  its own feature is one too many here.
#}
{% test counts_only_earlier_events(model, entity) %}
{% set key = entity ~ '_id' %}
with

activity as (

    select * from {{ model }}
    where created_timestamp <= {{ as_of() }} and created_timestamp > {{ first_rechecked() }}

),

ticks as (

    select {{ key }}, happened_on, enters_on, count(*) as events
    from {{ ref('int_known_events') }}
    where is_positive and {{ key }} is not null
    group by {{ key }}, happened_on, enters_on

),

counted as (

    select
        activity.{{ key }},
        activity.event_timestamp,
        activity.created_timestamp,
        any_value(activity.{{ entity }}_interactions_1d) as interactions_1d,
        any_value(activity.{{ entity }}_interactions_90d) as interactions_90d,
        coalesce(sum(ticks.events) filter (
            where ticks.happened_on >= {{ add_days('activity.event_timestamp', -1) }}
        ), 0) as counted_1d,
        coalesce(sum(ticks.events), 0) as counted_90d
    from activity
    left join ticks
        on activity.{{ key }} = ticks.{{ key }}
        and ticks.happened_on < activity.event_timestamp
        and ticks.happened_on >= {{ add_days('activity.event_timestamp', -90) }}
        and ticks.enters_on <= activity.created_timestamp
    group by activity.{{ key }}, activity.event_timestamp, activity.created_timestamp

)

select * from counted
where interactions_1d <> counted_1d or interactions_90d <> counted_90d
{% endtest %}
