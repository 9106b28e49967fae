-- One row per reader and moment at which their country came to differ from the one before.

with

clicks as (

    select * from {{ ref('stg_globo__clicks') }}

),

final as (

    {{ contract_users('clicks') }}

)

select * from final
