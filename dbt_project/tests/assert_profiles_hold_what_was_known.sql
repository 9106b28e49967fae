-- What a profile tells was told of its user or item before the stamp, and was known by created_timestamp: looked up
-- again among what came in, for the versions of the last days.

with

items as (

    select * from {{ ref('item_profile') }}
    where created_timestamp <= {{ as_of() }} and created_timestamp > {{ first_rechecked() }}

),

users as (

    select * from {{ ref('user_profile') }}
    where created_timestamp <= {{ as_of() }} and created_timestamp > {{ first_rechecked() }}

),

item_versions as (

    select * from {{ ref('int_items') }}

),

user_versions as (

    select * from {{ ref('int_users') }}

),

final as (

    select items.item_id as entity_id, items.event_timestamp, items.created_timestamp
    from items
    left join item_versions
        on items.item_id = item_versions.item_id
        and item_versions.event_timestamp < items.event_timestamp
        and item_versions.created_timestamp <= items.created_timestamp
        and items.item_title is not distinct from item_versions.title
        and items.item_category is not distinct from item_versions.category
        and items.item_brand is not distinct from item_versions.brand
        and items.item_price is not distinct from item_versions.price
    where item_versions.item_id is null

    union all

    select users.user_id as entity_id, users.event_timestamp, users.created_timestamp
    from users
    left join user_versions
        on users.user_id = user_versions.user_id
        and user_versions.event_timestamp < users.event_timestamp
        and user_versions.created_timestamp <= users.created_timestamp
        and users.user_country is not distinct from user_versions.country
    where user_versions.user_id is null

)

select * from final
