"""Items that were taken together with those of the history: item-based collaborative filtering.

Sarwar, Karypis, Konstan & Riedl, "Item-based collaborative filtering recommendation algorithms" (2001), over the
similarities of the feature table `item_neighbours`; what is long ago counts less.
"""

import tensorflow as tf

from tastemaker import names
from training.sources.source import Asked, Proposals, best_of


class CoVisitation:
    """Reads the snapshot's neighbours, so a refreshed release has those of its day."""

    name = names.SOURCE_CO_VISITATION

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the sum of decayed similarities, which is the ranker's feature, too."""
        return best_of(asked.past.recent_affinity, asked.past.items, count)

    def refresh(self) -> None:
        """Nothing is kept beside the snapshot."""
