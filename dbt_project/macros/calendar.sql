{# Days and ticks. A tick is a boundary of the grain (`features.grain`): a midnight, or a full hour, as a timestamp; a
   stamp is one. Everything that a warehouse writes in its own way is dispatched, so that Spark is a second
   implementation and not a second project. #}

{% macro day_of(moment) %}{{ return(adapter.dispatch('day_of')(moment)) }}{% endmacro %}
{% macro default__day_of(moment) %}cast({{ moment }} as date){% endmacro %}

{# The last tick at or before a moment. #}
{% macro tick_of(moment) %}date_trunc('{{ var("grain") }}', {{ moment }}){% endmacro %}

{# The first tick at or after a moment. #}
{% macro tick_at_or_after(moment) -%}
    {{ period_at_or_after(moment, var('grain')) }}
{%- endmacro %}

{% macro period_at_or_after(moment, period) -%}
    date_trunc('{{ period }}', {{ moment }} + interval 1 {{ period }} - interval 1 microsecond)
{%- endmacro %}

{% macro is_midnight(tick) %}({{ tick }} = date_trunc('day', {{ tick }})){% endmacro %}

{% macro shifted(moment, count, unit) -%}
    ({{ moment }} {{ '-' if count < 0 else '+' }} interval {{ count | abs }} {{ unit }})
{%- endmacro %}
{% macro add_days(moment, count) %}{{ shifted(moment, count, 'day') }}{% endmacro %}
{% macro add_ticks(tick, count) %}{{ shifted(tick, count, var('grain')) }}{% endmacro %}

{# A moment later by a span of time, or earlier: '7d' is seven days, '6h' six hours. #}
{% macro later(moment, span) %}{{ shifted(moment, span[:-1] | int, {'d': 'day', 'h': 'hour'}[span[-1]]) }}{% endmacro %}
{% macro earlier(moment, span) %}{{ shifted(moment, -(span[:-1] | int), {'d': 'day', 'h': 'hour'}[span[-1]]) }}{% endmacro %}

{# Whole days, or hours, from the first to the second. #}
{% macro whole(unit, first, second) %}{{ return(adapter.dispatch('whole')(unit, first, second)) }}{% endmacro %}
{% macro default__whole(unit, first, second) %}date_sub('{{ unit }}', {{ first }}, {{ second }}){% endmacro %}
{% macro spark__whole(unit, first, second) -%}
    ((unix_micros({{ second }}) - unix_micros({{ first }})) div {{ {'hour': 3600000000, 'day': 86400000000}[unit] }})
{%- endmacro %}

{# What only a grain of hours can tell; missing at a grain of days. #}
{% macro if_hourly(expression, type) -%}
    {% if var('grain') == 'hour' %}{{ expression }}{% else %}cast(null as {{ type }}){% endif %}
{%- endmacro %}

{# A row per tick, or per period, from the first to the last, both included; none when the last is before the first. #}
{% macro each(period, first, last) %}{{ return(adapter.dispatch('each')(period, first, last)) }}{% endmacro %}
{% macro default__each(period, first, last) -%}
    unnest(generate_series({{ first }}, {{ last }}, interval 1 {{ period }}))
{%- endmacro %}
{% macro spark__each(period, first, last) -%}
    explode(case when {{ first }} <= {{ last }} then sequence({{ first }}, {{ last }}, interval 1 {{ period }}) end)
{%- endmacro %}
{% macro each_tick(first, last) %}{{ each(var('grain'), first, last) }}{% endmacro %}

{# The stamps of a dense table from the first tick to the last: every midnight, and of the other ticks those up to
   `hours_until`. A row at every hour would be 60 million for the readers of a fortnight's news. #}
{% macro each_stamp(first, last, hours_until) -%}
    {% if var('grain') == 'day' %}{{ each_tick(first, last) }}
    {%- else %}{{ return(adapter.dispatch('each_stamp')(first, last, hours_until)) }}
    {%- endif %}
{%- endmacro %}
{% macro default__each_stamp(first, last, hours_until) -%}
    unnest(list_concat(
        generate_series({{ period_at_or_after(first, 'day') }}, {{ last }}, interval 1 day),
        list_filter(
            generate_series({{ first }}, least({{ last }}, {{ hours_until }}), interval 1 hour),
            lambda tick: not {{ is_midnight('tick') }}
        )
    ))
{%- endmacro %}

{% macro microseconds(moment) %}{{ return(adapter.dispatch('microseconds')(moment)) }}{% endmacro %}
{% macro default__microseconds(moment) %}epoch_us({{ moment }}){% endmacro %}
{% macro spark__microseconds(moment) %}unix_micros({{ moment }}){% endmacro %}
