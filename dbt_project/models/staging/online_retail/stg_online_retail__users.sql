-- One row per customer and moment at which their country came to differ from the one before.

with

purchases as (

    select * from {{ ref('stg_online_retail__order_lines') }}
    where user_id is not null and disposition = 'purchase'

),

final as (

    {{ contract_users('purchases') }}

)

select * from final
