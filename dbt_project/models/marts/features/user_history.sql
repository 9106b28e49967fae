-- One row per user, tick at which their history changed, and version.
{{ config(unique_key=['user_id', 'event_timestamp', 'created_timestamp']) }}
{% set since = first_new_tick() %}

with

known_events as (

    select * from {{ ref('int_known_events') }}
    where user_id is not null

),

-- A user's positive events are numbered, and a history is gathered as numbers: an item's greatest is its last event.
positives as (

    select
        user_id,
        event_id,
        item_id,
        event_type,
        event_timestamp,
        happened_on,
        enters_on,
        row_number() over (partition by user_id order by event_timestamp, item_id desc, event_id) as turn
    from known_events
    where is_positive

),

-- A purchase taken back in whole leaves the history, from the time of the refund on.
refunds as (

    select
        user_id,
        element_at(context, 'refund_of')[1] as event_id,
        min(happened_on) as happened_on,
        min(enters_on) as enters_on
    from known_events
    where is_refund and element_at(context, 'refund')[1] = 'whole'
    group by all

),

changes as (

    select user_id, happened_on, enters_on from positives
    union
    select user_id, happened_on, enters_on from refunds

),

versions as (

    {{ change_versions('changes', 'user_id', since) }}

),

items as (

    select
        versions.user_id,
        versions.stamp,
        versions.known_on,
        positives.item_id,
        max(positives.turn) as turn,
        count(*) as events
    from versions
    inner join positives
        on versions.user_id = positives.user_id
        and positives.happened_on < versions.stamp
        and positives.enters_on <= versions.known_on
    left join refunds
        on positives.event_id = refunds.event_id
        and positives.user_id = refunds.user_id
    where refunds.event_id is null or refunds.happened_on >= versions.stamp or refunds.enters_on > versions.known_on
    group by versions.user_id, versions.stamp, versions.known_on, positives.item_id

),

-- Lists are sorted once they are there: sorting inside the aggregate takes gigabytes for a million histories.
histories as (

    select
        user_id,
        stamp,
        known_on,
        list_reverse_sort(list({'turn': turn, 'events': events}))[:{{ var('history_length') }}] as held
    from items
    group by user_id, stamp, known_on

),

-- What the numbers stand for.
told as (

    select
        user_id,
        list_sort(list({
            'turn': turn,
            'item_id': item_id,
            'happened_at': {{ microseconds('event_timestamp') }},
            'event_type': event_type
        })) as events
    from positives
    group by user_id

),

final as (

    -- Whose every purchase was taken back has an empty history, which is another thing than none.
    select
        versions.user_id,
        versions.stamp as event_timestamp,
        versions.known_on as created_timestamp,
        {% for feature, value, type in [
            ('item_ids', 'told.events[it.turn].item_id', 'varchar'),
            ('timestamps', 'told.events[it.turn].happened_at', 'bigint'),
            ('event_types', 'told.events[it.turn].event_type', 'varchar'),
            ('counts', 'it.events', 'bigint'),
        ] %}
        coalesce(list_transform(histories.held, lambda it: {{ value }}), {{ empty_list(type) }}) as history_{{ feature }}
        {{- ',' if not loop.last }}
        {% endfor %}
    from versions
    left join histories
        on versions.user_id = histories.user_id
        and versions.stamp = histories.stamp
        and versions.known_on = histories.known_on
    left join told on versions.user_id = told.user_id

)

select * from final
