{# A version is known at a tick from its stamp, a tick too, to `lateness_days` after. #}
{% test known_within_lateness(model) %}
select event_timestamp, created_timestamp
from {{ model }}
where
    created_timestamp < event_timestamp
    or created_timestamp > event_timestamp + interval {{ var('lateness_days') }} day
    or event_timestamp <> {{ tick_of('event_timestamp') }}
    or created_timestamp <> {{ tick_of('created_timestamp') }}
{% endtest %}
