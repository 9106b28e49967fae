{{ config(enabled=var('source') == 'globo') }}
-- Landed clicks are events, within the documented days or outside: the counts add up.

with

landed as (

    select count(*) as clicks from {{ source('globo', 'clicks') }}

),

accounted as (

    select sum(clicks) as clicks from {{ ref('stg_globo__click_audit') }}

),

events as (

    select count(*) as clicks from {{ ref('stg_globo__events') }}

)

select landed.clicks as landed, accounted.clicks as accounted, events.clicks as events
from landed
cross join accounted
cross join events
where landed.clicks <> coalesce(accounted.clicks, 0) or landed.clicks <> events.clicks
