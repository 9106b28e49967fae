-- What a profile tells was told of its user or item before the stamp, and was known by created_timestamp: looked up
-- again among what came in, for the versions of the last days.
{% set told = {'item': ['title', 'category', 'brand', 'price'], 'user': ['country']} %}

{% for entity, columns in told.items() %}
select profile.{{ entity }}_id as entity_id, profile.event_timestamp, profile.created_timestamp
from {{ ref(entity ~ '_profile') }} as profile
left join {{ ref('int_' ~ entity ~ 's') }} as versions
    on profile.{{ entity }}_id = versions.{{ entity }}_id
    and versions.event_timestamp < profile.event_timestamp
    and versions.created_timestamp <= profile.created_timestamp
    {% for column in columns %}
    and profile.{{ entity }}_{{ column }} is not distinct from versions.{{ column }}
    {% endfor %}
where profile.created_timestamp <= {{ as_of() }}
    and profile.created_timestamp > {{ first_rechecked() }}
    and versions.{{ entity }}_id is null
{{ 'union all' if not loop.last }}
{% endfor %}
