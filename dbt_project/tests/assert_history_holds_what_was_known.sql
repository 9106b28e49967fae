-- What a history tells of an item is an event that had happened before the stamp and was known by created_timestamp:
-- looked up again among the events, for the versions of the last days.

with

told as (

    select
        user_id,
        event_timestamp,
        created_timestamp,
        unnest(history_item_ids) as item_id,
        unnest(history_timestamps) as last_at
    from {{ ref('user_history') }}
    where created_timestamp <= {{ as_of() }} and created_timestamp > {{ first_rechecked() }}

),

events as (

    select
        user_id,
        item_id,
        {{ microseconds('event_timestamp') }} as happened_at,
        min(enters_on) as enters_on
    from {{ ref('int_known_events') }}
    where is_positive and user_id is not null
    group by all

)

select told.*, events.enters_on
from told
left join events
    on told.user_id = events.user_id
    and told.item_id = events.item_id
    and told.last_at = events.happened_at
where
    events.enters_on is null
    or events.enters_on > told.created_timestamp
    or told.last_at >= {{ microseconds('told.event_timestamp') }}
