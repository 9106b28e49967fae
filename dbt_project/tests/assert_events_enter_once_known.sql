-- An event enters the feature tables at a tick after it happened, and not before it was known: the one rule that the
-- other tests of leaks take for granted.

select
    known.event_id,
    known.enters_on,
    events.event_timestamp,
    events.created_timestamp
from {{ ref('int_known_events') }} as known
inner join {{ ref('fct_interactions') }} as events on known.event_id = events.event_id
where
    known.enters_on <= events.event_timestamp
    or known.enters_on < events.created_timestamp
    or known.enters_on <> {{ tick_of('known.enters_on') }}
    or known.happened_on <> {{ tick_of('events.event_timestamp') }}
