-- One row per stamp and tick at which neighbours are to be counted.
{{ config(materialized='table') }}
{% set since = first_new_tick('int_item_neighbours') %}

{# Tastes in a shop move by the week; yesterday's news is nobody's neighbour. #}
{% set period = {'day': 'week', 'hour': 'day'}[var('grain')] %}

with

session_items as (

    select * from {{ ref('int_session_items') }}

),

on_time as (

{% if var('neighbour_half_life_hours') %}
    select distinct
        enters_on as stamp,
        enters_on as known_on
    from session_items
    where enters_on >= {{ since }}
{% else %}
    select
        stamp,
        stamp as known_on
    from (
        select {{ each(
            period, period_at_or_after('greatest(min(enters_on), ' ~ since ~ ')', period), last_stamp()
        ) }} as stamp
        from session_items
    )
{% endif %}

),

late as (

    select distinct
        stamp,
        known_on
    from ({{ late_versions('session_items', 'session_id', since) }})
    {% if not var('neighbour_half_life_hours') %}
    where stamp = date_trunc('{{ period }}', stamp)
    {% endif %}

),

final as (

    select * from on_time
    union all
    select * from late

)

select * from final
