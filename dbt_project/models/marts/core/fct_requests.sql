-- One row per request of a known user.
{% set none_before %}
        {{ empty_list('varchar') }} as session_item_ids,
        {{ empty_list('bigint') }} as session_timestamps,
        {{ empty_list('varchar') }} as session_event_types
{%- endset %}

with

interactions as (

    select * from {{ ref('fct_interactions') }}
    where {{ visible() }} and user_id is not null

),

-- With logged impressions a request is what was shown, and what of it was wanted.
shown as (

    select
        request_id,
        min(user_id) as user_id,
        min(session_id) as session_id,
        min(event_timestamp) as request_timestamp,
        {{ list_of('item_id', 'varchar', 'position, item_id') }} as shown_item_ids,
        {{ list_of('cast(position as bigint)', 'bigint', 'position, item_id') }} as shown_positions,
        {{ list_of('propensity', 'double', 'position, item_id') }} as shown_propensities
    from interactions
    where event_type = 'impression' and request_id is not null
    group by request_id

),

wanted as (

    select
        request_id,
        {{ list_of('distinct item_id', 'varchar', 'item_id', 'is_positive') }} as positive_item_ids,
        max(created_timestamp) as created_timestamp
    from interactions
    where request_id is not null
    group by request_id

),

impressions as (

    select
        shown.request_id,
        shown.user_id,
        shown.session_id,
        'impressions' as request_origin,
        shown.shown_item_ids,
        shown.shown_positions,
        shown.shown_propensities,
        wanted.positive_item_ids,
        {{ none_before }},
        shown.request_timestamp,
        wanted.created_timestamp
    from shown
    inner join wanted on shown.request_id = wanted.request_id

),

-- Without, nobody knows what was shown, only what was wanted. A session is one request, for all that it brought…
{% if var('requests') == 'session' %}
sessions as (

    select
        user_id || '/' || session_id as request_id,
        user_id,
        session_id,
        'session' as request_origin,
        {{ empty_list('varchar') }} as shown_item_ids,
        {{ empty_list('bigint') }} as shown_positions,
        {{ empty_list('double') }} as shown_propensities,
        {{ list_of('distinct item_id', 'varchar', 'item_id', 'is_positive') }} as positive_item_ids,
        {{ none_before }},
        min(event_timestamp) filter (where is_positive) as request_timestamp,
        max(created_timestamp) filter (where is_positive) as created_timestamp
    from interactions
    where session_id is not null
    group by user_id, session_id
    having bool_or(is_positive) and not bool_or(event_type = 'impression' and request_id is not null)

),
{% else %}
-- … or each of its positive events is, asked by someone who has had the items before it in the session.
shown_sessions as (

    select distinct user_id, session_id
    from interactions
    where session_id is not null and event_type = 'impression' and request_id is not null

),

wanted_in_session as (

    select
        interactions.user_id,
        interactions.session_id,
        interactions.item_id,
        interactions.event_type,
        interactions.event_timestamp,
        interactions.created_timestamp,
        row_number() over (
            partition by interactions.user_id, interactions.session_id
            order by interactions.event_timestamp, interactions.event_id
        ) as turn
    from interactions
    left join shown_sessions
        on interactions.user_id = shown_sessions.user_id
        and interactions.session_id = shown_sessions.session_id
    where interactions.session_id is not null and interactions.is_positive and shown_sessions.session_id is null

),

had_before as (

    select
        later.user_id,
        later.session_id,
        later.turn,
        earlier.item_id,
        max({{ microseconds('earlier.event_timestamp') }}) as last_at,
        {{ value_at_greatest('earlier.event_type', 'earlier.turn') }} as last_type
    from wanted_in_session as later
    inner join wanted_in_session as earlier
        on later.user_id = earlier.user_id
        and later.session_id = earlier.session_id
        and earlier.event_timestamp < later.event_timestamp
    group by later.user_id, later.session_id, later.turn, earlier.item_id

),

-- Lists are sorted once they are there: sorting inside the aggregate takes minutes for millions of them.
running_sessions as (

    select
        user_id,
        session_id,
        turn,
        list_sort(list({
            'latest_first': -last_at, 'item_id': item_id, 'last_at': last_at, 'last_type': last_type
        })) as had
    from had_before
    group by user_id, session_id, turn

),

sessions as (

    select
        wanted.user_id || '/' || wanted.session_id || '/' || wanted.turn as request_id,
        wanted.user_id,
        wanted.session_id,
        'next_item' as request_origin,
        {{ empty_list('varchar') }} as shown_item_ids,
        {{ empty_list('bigint') }} as shown_positions,
        {{ empty_list('double') }} as shown_propensities,
        [wanted.item_id] as positive_item_ids,
        coalesce(list_transform(running_sessions.had, lambda it: it.item_id), {{ empty_list('varchar') }})
            as session_item_ids,
        coalesce(list_transform(running_sessions.had, lambda it: it.last_at), {{ empty_list('bigint') }})
            as session_timestamps,
        coalesce(list_transform(running_sessions.had, lambda it: it.last_type), {{ empty_list('varchar') }})
            as session_event_types,
        wanted.event_timestamp as request_timestamp,
        wanted.created_timestamp
    from wanted_in_session as wanted
    left join running_sessions
        on wanted.user_id = running_sessions.user_id
        and wanted.session_id = running_sessions.session_id
        and wanted.turn = running_sessions.turn

),
{% endif %}

final as (

    select * from impressions
    union all
    select * from sessions

)

select * from final
