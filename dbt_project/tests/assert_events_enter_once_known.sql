-- An event enters the feature tables at a midnight after it happened, and not before it was known: the one rule that the
-- other tests of leaks take for granted.

select
    known.event_id,
    known.enters_on,
    events.event_timestamp,
    events.created_timestamp
from {{ ref('int_known_events') }} as known
inner join {{ ref('fct_interactions') }} as events on known.event_id = events.event_id
where
    cast(known.enters_on as timestamp) <= events.event_timestamp
    or cast(known.enters_on as timestamp) < events.created_timestamp
    or known.happened_on <> {{ day_of('events.event_timestamp') }}
