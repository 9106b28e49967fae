-- An item is no neighbour of its own; scores are cosines or shares, the greatest first.

select item_id, event_timestamp, created_timestamp
from {{ ref('item_neighbours') }}
where
    list_contains(neighbour_item_ids, item_id)
    or len(neighbour_item_ids) <> len(neighbour_scores)
    or len(neighbour_item_ids) not between 1 and {{ var('neighbours') }}
    or list_max(neighbour_scores) > 1.000001
    or list_min(neighbour_scores) <= 0
    or neighbour_scores <> list_reverse_sort(neighbour_scores)
