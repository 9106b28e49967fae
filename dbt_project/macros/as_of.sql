{# What a run at `as_of` may see, and what of it is new. #}

{% macro as_of() %}timestamp '{{ var("as_of") }}'{% endmacro %}

{# The last tick at or before as_of: no stamp is later. #}
{% macro last_stamp() %}{{ tick_of(as_of()) }}{% endmacro %}

{% macro visible() -%}
    event_timestamp < {{ as_of() }} and created_timestamp <= {{ as_of() }}
{%- endmacro %}

{# The one place that decides from which tick on an incremental feature table is computed again: `lateness_days`
   before the last version it holds, or the beginning of time when it is built in full. A version is a pure function of
   the events known at its created_timestamp, so computing one twice changes nothing. Versions beyond as_of are left
   alone: they belong to a later run. `held` names the table where it is not the model itself. #}
{% macro first_new_tick(held=none) -%}
    {%- set begin = "1970-01-01" -%}
    {%- if execute -%}
        {%- if held -%}
            {%- set relation = load_relation(api.Relation.create(target.database, target.schema, held)) -%}
            {%- set builds_on = relation is not none and not should_full_refresh() -%}
        {%- else -%}
            {%- set relation = this -%}
            {%- set builds_on = is_incremental() -%}
        {%- endif -%}
        {%- if builds_on -%}
            {%- set query -%}
                select cast(coalesce(
                    {{ add_days('least(max(created_timestamp), ' ~ last_stamp() ~ ')', -var('lateness_days')) }},
                    timestamp '{{ begin }}'
                ) as varchar) from {{ relation }}
            {%- endset -%}
            {%- set begin = run_query(query).columns[0].values()[0] -%}
        {%- endif -%}
    {%- endif -%}
    {{ return("timestamp '" ~ begin ~ "'") }}
{%- endmacro %}

{# From when on data tests count versions again, event by event: what is older was counted when it was new. #}
{% macro first_rechecked() %}{{ add_days(as_of(), -{'day': 30, 'hour': 2}[var('grain')]) }}{% endmacro %}

{# Joins each left row to the right row with the greatest time at or before its own, or to none. #}
{% macro asof_left_join(right, on, left_time, right_time) -%}
    {{ return(adapter.dispatch('asof_left_join')(right, on, left_time, right_time)) }}
{%- endmacro %}
{% macro default__asof_left_join(right, on, left_time, right_time) -%}
    asof left join {{ right }} on {{ on }} and {{ right_time }} <= {{ left_time }}
{%- endmacro %}
