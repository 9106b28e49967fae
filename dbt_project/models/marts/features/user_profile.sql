-- One row per user, tick at which something known of the user changed, and version.
{{ config(unique_key=['user_id', 'event_timestamp', 'created_timestamp']) }}
{% set since = first_new_tick() %}

with

users as (

    select
        *,
        row_number() over (partition by user_id order by event_timestamp, created_timestamp) as turn
    from {{ ref('int_users') }}
    where enters_on <= {{ last_stamp() }}

),

versions as (

    {{ change_versions('users', 'user_id', since) }}

),

latest as (

    select
        versions.user_id,
        versions.stamp,
        versions.known_on,
        max(users.turn) as turn
    from versions
    inner join users
        on versions.user_id = users.user_id
        and users.happened_on < versions.stamp
        and users.enters_on <= versions.known_on
    group by versions.user_id, versions.stamp, versions.known_on

),

final as (

    select
        latest.user_id,
        latest.stamp as event_timestamp,
        latest.known_on as created_timestamp,
        users.country as user_country
    from latest
    inner join users on latest.user_id = users.user_id and latest.turn = users.turn

)

select * from final
