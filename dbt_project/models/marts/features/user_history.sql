-- One row per user, tick at which their history changed, and version.
{{ config(unique_key=['user_id', 'event_timestamp', 'created_timestamp']) }}
{% set since = first_new_tick() %}

with

known_events as (

    select * from {{ ref('int_known_events') }}
    where user_id is not null

),

positives as (

    select * from known_events
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
        max(positives.event_timestamp) as last_at,
        {{ value_at_greatest(
            'positives.event_type', 'row(positives.event_timestamp, positives.event_id)'
        ) }} as last_type,
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

ranked as (

    select
        *,
        row_number() over (partition by user_id, stamp, known_on order by last_at desc, item_id) as rank
    from items

),

histories as (

    select
        user_id,
        stamp,
        known_on,
        list(item_id order by rank) as item_ids,
        list({{ microseconds('last_at') }} order by rank) as timestamps,
        list(last_type order by rank) as event_types,
        list(events order by rank) as counts
    from ranked
    where rank <= {{ var('history_length') }}
    group by user_id, stamp, known_on

),

final as (

    -- Whose every purchase was taken back has an empty history, which is another thing than none.
    select
        versions.user_id,
        versions.stamp as event_timestamp,
        versions.known_on as created_timestamp,
        coalesce(histories.item_ids, {{ empty_list('varchar') }}) as history_item_ids,
        coalesce(histories.timestamps, {{ empty_list('bigint') }}) as history_timestamps,
        coalesce(histories.event_types, {{ empty_list('varchar') }}) as history_event_types,
        coalesce(histories.counts, {{ empty_list('bigint') }}) as history_counts
    from versions
    left join histories
        on versions.user_id = histories.user_id
        and versions.stamp = histories.stamp
        and versions.known_on = histories.known_on

)

select * from final
