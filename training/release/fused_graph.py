"""One graph for the whole answer: query tower, nearest items, exclusions, features, trees, probability, top k.

`CandidateGraph` says who is judged and by which features; here come the ranker and the four signatures of a release.
"""

from datetime import datetime
from typing import Any

import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from training.ranking.calibration import Calibration
from training.ranking.features import Retrieval, pair_columns, user_columns
from training.ranking.past import Past
from training.release.block_top_k import block_top_k
from training.release.candidate_graph import CandidateGraph, Tensors
from training.release.candidates import Candidates, named_sets, proposers
from training.release.inputs import RANKED_ITEM_IDS, SIGNATURE_INPUTS, SIMILAR_ITEM_IDS, K, aligned, require_k
from training.release.item_masks import Forest, ItemMasks
from training.release.item_snapshot import rows_at
from training.release.row_blocks import in_row_blocks

HOUR = 3_600_000_000  # microseconds


class FusedRecommender(CandidateGraph):
    """A candidate graph to which a forest is attached: the release. Its arguments are those of `CandidateGraph`."""

    _forest: Forest | None = None
    item_masks: ItemMasks | None = None
    _calibration: Calibration | None = None
    _release = ""

    def load_snapshot(self, items: pa.Table, as_of: datetime) -> None:
        """As `CandidateGraph.load_snapshot`, and asks the forest what it knows of the items."""
        super().load_snapshot(items, as_of)
        if self.item_masks is not None:
            self.item_masks.refresh()

    def attach_ranker(self, forest: Forest, calibration: Calibration, release: str) -> None:
        """Makes the graph complete. `release` is the name it answers with."""
        self._forest, self._calibration, self._release = forest, calibration, release
        self.item_masks = ItemMasks(forest, self.snapshot, self.sources.popularity)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        """What a SavedModel holds beside its signatures: all that they read, and `candidate_features` to look inside.

        TensorFlow's own answer has every method that is a `tf.function`, traced once more for being saved.
        """
        children: dict[str, Any] = super()._trackable_children("checkpoint", **kwargs)
        return children | ({"candidate_features": self.candidate_features} if save_type == "savedmodel" else {})

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_RECOMMEND]], autograph=False)
    def recommend(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`item_ids` str, `scores` f32 and `sources` str (who proposed it) `[B, min(k, available items)]`, best first,
        `release` str and `items_fresh_until` int64 `[B]`, microseconds since 1970 UTC.

        Where exclusions leave fewer, a row ends in "" with score 0.
        """
        k = require_k(inputs[K.name])
        k = tf.minimum(k, self.snapshot.available_count)
        count = tf.maximum(k, self._config.two_tower)

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, found, retrieval = self._candidates(rows, count)
            return self._best(found, self._raw_scores(asked.past, found.items, retrieval), proposers(retrieval), k)

        per_row = self._rows({name: tensor for name, tensor in inputs.items() if name != K.name})
        result = in_row_blocks(block, per_row, self._rows_at_once(count), {**_ANSWER, names.OUTPUT_SOURCES: tf.string})
        batch = tf.shape(result[names.OUTPUT_ITEM_IDS])[0]
        fresh_until = self.snapshot.as_of + self._config.item_fresh_hours * HOUR
        return {
            **result,
            names.OUTPUT_RELEASE: tf.fill([batch], self._release),
            names.OUTPUT_ITEMS_FRESH_UNTIL: tf.fill([batch], fresh_until),
        }

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_RETRIEVE]], autograph=False)
    def retrieve(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`item_ids` str and `scores` f32 `[B, min(k, available items)]`: the blend of all sources, before any ranking.

        An item with score 0 is listed by none of them; the nearest of those come first.
        """
        k = tf.minimum(require_k(inputs[K.name]), self.snapshot.available_count)

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked = self._asked(rows)
            found, proposed = self.sources.candidates(asked, None, k)
            best = found.items[:, :k]
            return self._padded(best, proposed.at(found.places[:, :k]).blend, found.valid[:, :k])

        per_row = self._rows({name: tensor for name, tensor in inputs.items() if name != K.name})
        return in_row_blocks(block, per_row, self._rows_at_once(k), _ANSWER)

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_RANK]], autograph=False)
    def rank(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`scores` f32 `[B, C]`, probabilities, and `known` bool `[B, C]`; an unknown item's score is 0."""

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            asked, items, retrieval = self._given(rows)
            known = rows_at(self.snapshot.available, items)
            scores = self._probabilities(self._raw_scores(asked.past, items, retrieval))
            return {names.OUTPUT_SCORES: tf.where(known, scores, 0.0), names.OUTPUT_KNOWN: known}

        count = tf.shape(inputs[RANKED_ITEM_IDS.name])[1]
        outputs = {names.OUTPUT_SCORES: tf.float32, names.OUTPUT_KNOWN: tf.bool}
        return in_row_blocks(block, self._rows(inputs), self._rows_at_once(count), outputs)

    @tf.function(input_signature=[SIGNATURE_INPUTS[names.SIGNATURE_SIMILAR_ITEMS]], autograph=False)
    def similar_items(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """`item_ids` str and `scores` f32 `[B, min(k, available items)]`: cosines of tastes, the item itself out.

        An item that is unknown or unavailable has a row of "" and 0; any row ends so when there are too few others.
        """
        k = tf.minimum(require_k(inputs[K.name]), self.snapshot.available_count)
        items = self.snapshot

        def block(rows: Tensors) -> dict[str, tf.Tensor]:
            own = tf.cast(self._indices.lookup(rows[SIMILAR_ITEM_IDS.name]), tf.int32)
            direction = rows_at(items.vectors, own) * rows_at(items.inverse_norms, own)[:, None]
            # a popular item is like no other for that: 0 stands for its popularity, and nothing of the items is copied
            popularity = items.vectors.shape[1] - items.taste
            if popularity:
                direction = tf.pad(direction[:, : items.taste], [[0, 0], [0, popularity]])
            cosines = tf.linalg.matmul(direction, items.vectors, transpose_b=True) * items.inverse_norms[None, :]
            others = items.available[None, :] & (tf.range(self.universe.rows)[None, :] != own[:, None])
            others &= rows_at(items.available, own)[:, None]
            _, found = block_top_k(tf.where(others, cosines, cosines.dtype.min), k)
            kept = tf.gather(others, found, batch_dims=1)
            # A matrix product's last bit depends on how many rows it has, so what is said is summed pair by pair.
            exact = tf.reduce_sum(direction[:, None, :] * rows_at(items.vectors, found), axis=2)
            exact *= rows_at(items.inverse_norms, found)
            scores, places = tf.math.top_k(tf.where(kept, exact, exact.dtype.min), k)
            found, kept = (tf.gather(values, places, batch_dims=1) for values in (found, kept))
            return self._padded(found, scores, kept)

        per_row = aligned({SIMILAR_ITEM_IDS.name: inputs[SIMILAR_ITEM_IDS.name]})
        return in_row_blocks(block, per_row, self._rows_at_once(k), _ANSWER)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _raw_scores(self, past: Past, items: tf.Tensor, retrieval: Retrieval) -> tf.Tensor:
        """float64 `[B, C]`: the forest on the rows of `feature_matrix`, to the bit, without making them.

        The item's own features have been asked when the snapshot was loaded, the user's own are asked once a request.
        """
        assert self._forest is not None and self.item_masks is not None, "attach_ranker comes first"
        per_user = self._forest.user_masks(user_columns(past.user, self.snapshot))
        per_pair = pair_columns(past, items, retrieval)
        return self._forest.raw_scores_from_masks(self.item_masks.of(items), per_user, per_pair)

    def _probabilities(self, raw: tf.Tensor) -> tf.Tensor:
        assert self._calibration is not None, "attach_ranker comes first"
        return self._calibration.probabilities(raw)

    def _best(self, found: Candidates, raw: tf.Tensor, proposed_by: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """The k best by raw score, of equals the better one in the blend."""
        raw, places = tf.math.top_k(tf.where(found.valid, raw, raw.dtype.min), k)
        kept = tf.gather(found.valid, places, batch_dims=1)
        best = self._padded(tf.gather(found.items, places, batch_dims=1), self._probabilities(raw), kept)
        named = tf.gather(named_sets(), tf.where(kept, tf.gather(proposed_by, places, batch_dims=1), 0))
        return {**best, names.OUTPUT_SOURCES: named}

    def _padded(self, found: tf.Tensor, scores: tf.Tensor, kept: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.where(kept, found, self.universe.unknown)
        return {
            names.OUTPUT_ITEM_IDS: tf.gather(self._item_ids, found),
            names.OUTPUT_SCORES: tf.where(kept, scores, 0.0),
        }


_ANSWER = {names.OUTPUT_ITEM_IDS: tf.string, names.OUTPUT_SCORES: tf.float32}
