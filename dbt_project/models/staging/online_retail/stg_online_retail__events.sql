-- One row per purchased line and per cancellation that takes a purchase back.

with

order_lines as (

    select * from {{ ref('stg_online_retail__order_lines') }}

),

cancellations as (

    select * from {{ ref('stg_online_retail__cancellations') }}

),

purchases as (

    select
        line_id as event_id,
        user_id,
        item_id,
        'purchase' as event_type,
        invoice_no as session_id,
        cast(null as map(varchar, varchar)) as context,
        quantity * unit_price as value,
        event_timestamp
    from order_lines
    where disposition = 'purchase'

),

-- The purchase stays as it happened; taking it back is an event of its own, known from its own time on.
refunds as (

    select
        line_id as event_id,
        user_id,
        item_id,
        'refund' as event_type,
        invoice_no as session_id,
        map {
            'refund_of': purchase_line_id,
            'refund': case when pieces_left = 0 then 'whole' else 'part' end
        } as context,
        -quantity * purchase_unit_price as value,
        event_timestamp
    from cancellations
    where purchase_line_id is not null

),

events as (

    select * from purchases
    union all
    select * from refunds

),

final as (

    {{ contract_events('events') }}

)

select * from final
