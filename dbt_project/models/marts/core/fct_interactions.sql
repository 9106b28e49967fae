-- One row per event.
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='event_id', on_schema_change='fail') }}

{# The moment from which an event is visible, less `lateness_days` for rows that the last run could not see yet.
   Rows beyond as_of are left alone: they belong to a later run. #}
{% set since = none %}
{% if is_incremental() and execute %}
    {% set query %}
        select cast(
            least(max(greatest(event_timestamp, created_timestamp)), {{ as_of() }})
            - interval {{ var('lateness_days') }} day as varchar
        ) from {{ this }}
    {% endset %}
    {% set since = run_query(query).columns[0].values()[0] %}
{% endif %}

with

events as (

    select * from {{ ref('int_events') }}

),

final as (

    select
        event_id,
        user_id,
        item_id,
        session_id,
        request_id,
        event_type,
        release,
        event_type in ('{{ var("positive_types") | join("', '") }}') as is_positive,
        context,
        value,
        position,
        propensity,
        event_timestamp,
        created_timestamp,
        {{ tick_at_or_after('created_timestamp') }} as known_on
    from events
    {% if since %}
    where greatest(event_timestamp, created_timestamp) >= timestamp '{{ since }}'
    {% endif %}

)

select * from final
