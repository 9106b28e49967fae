"""What the sources would have proposed to past requests, seen through the graph that serves."""

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from training.datasets.item_snapshots import by_snapshot, snapshot_of
from training.feature_tensors import column_of, query_tensors
from training.ranking.rows import REQUESTS_AT_ONCE
from training.release.candidate_graph import CandidateGraph
from training.sources.blend import BlendRows


def blend_rows(graph: CandidateGraph, requests: pa.Table, items: pa.Table) -> BlendRows:
    """Every candidate of every request, as the snapshot of its own moment in the graph makes them.

    Args:
        graph: its snapshot is swapped; afterwards it holds the last one's.
        requests: rows of `requests.parquet`, earliest first.
        items: the item snapshots of every moment in question.

    Raises TastemakerError when a day has no snapshot.
    """
    width = len(graph.sources.made)
    places, labels = [np.empty((0, width), np.int32)], [np.empty(0, bool)]
    owners, positives = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    start = 0
    for moment, asked in by_snapshot(requests, items):
        graph.load_snapshot(snapshot_of(items, moment), moment)
        for at in range(0, len(asked), REQUESTS_AT_ONCE):
            part = asked.slice(at, REQUESTS_AT_ONCE)
            found = graph.candidate_places({name: tf.constant(v) for name, v in query_tensors(part).items()})
            valid, ids = found["valid"].numpy(), found["item_ids"].numpy()
            taken = [
                {item.encode() for item in row or ()} for row in column_of(part, names.POSITIVE_ITEM_IDS).to_pylist()
            ]
            hits = [[item in row for item in line] for line, row in zip(ids.tolist(), taken, strict=True)]
            places.append(found["places"].numpy()[valid])
            labels.append(np.array(hits, bool).reshape(valid.shape)[valid])
            owners.append(np.repeat(np.arange(start, start + len(part)), valid.sum(axis=1)))
            positives.append(np.array([len(row) for row in taken], np.int64))
            start += len(part)
    return BlendRows(*(np.concatenate(parts) for parts in (places, labels, owners, positives)))
