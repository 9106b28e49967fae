"""What the towers know by name: items with a positive, words of titles, countries, categories, brands."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastemaker import names
from training.feature_tensors import column_of
from training.retrieval.examples import Pairs, Snapshots
from training.retrieval.tower_shape import ITEM_TITLE, TowerConfig
from training.retrieval.two_tower import WORDS
from training.vocabulary import Vocabulary, title_words

WORD_TITLES = 2  # a word in one title only says no more than the item's id


def tower_vocabularies(
    config: TowerConfig, requests: pa.Table, items: pa.Table, pairs: Pairs, snapshots: Snapshots
) -> dict[str, Vocabulary]:
    """The vocabularies of a tower that learns from the pairs.

    An item without a pair is not among the ids: it stays "unknown", and its attributes place it.

    Args:
        config: which text features the towers read.
        requests: the requests to learn from, with their features.
        items: the snapshot table; of it, what the pairs point to counts.
        pairs: the examples.
        snapshots: the index of `items`.
    """
    shown = items.take(pa.array(np.unique(pairs.snapshot)))
    titles = [title for title in pc.unique(shown[ITEM_TITLE]).to_pylist() if title]
    ids = snapshots.items.take(pa.array(np.unique(pairs.item)))
    return {
        names.ITEM_ID: Vocabulary.of(ids.to_pylist()),
        WORDS: Vocabulary.of((word for title in titles for word in set(title_words(title))), WORD_TITLES),
        **{name: Vocabulary.of(pc.unique(column_of(requests, name)).to_pylist()) for name in config.user_texts},
        **{name: Vocabulary.of(pc.unique(column_of(shown, name)).to_pylist()) for name in config.item_texts},
    }
