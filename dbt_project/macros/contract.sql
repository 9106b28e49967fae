{# What sources have in common that tell neither of a recommender nor of users' profiles: the landing contract's columns
   from what they do tell, known the moment it happened. #}

{# The contract's events from rows with event_id, user_id, item_id, session_id, event_type, context, value and
   event_timestamp; nobody logged what was shown. #}
{% macro contract_events(rows) %}
    select
        event_id,
        user_id,
        item_id,
        session_id,
        cast(null as varchar) as request_id,
        event_type,
        cast(null as varchar) as release,
        context,
        value,
        cast(null as integer) as position,
        cast(null as double) as propensity,
        event_timestamp,
        event_timestamp as created_timestamp
    from {{ rows }}
{% endmacro %}

{# The contract's users from rows with user_id, event_timestamp and country: one per user and moment at which their
   country came to differ from the one before. #}
{% macro contract_users(rows) %}
    select
        user_id,
        country,
        cast(null as map(varchar, varchar)) as attributes,
        cast(null as boolean) as consent,
        event_timestamp,
        event_timestamp as created_timestamp
    from (
        select
            *,
            row_number() over by_moment as turn,
            lag(country) over by_moment as country_before
        from (
            select user_id, event_timestamp, min(country) as country
            from {{ rows }}
            group by user_id, event_timestamp
        )
        window by_moment as (partition by user_id order by event_timestamp)
    )
    where turn = 1 or country is distinct from country_before
{% endmacro %}
