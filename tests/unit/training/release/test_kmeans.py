"""Two-level k-means on blobs that anyone can tell apart, and on what has no cells."""

import numpy as np
import pytest

from training.release.kmeans import nearest, two_level_cells


def _blobs(count=12, each=50, seed=3):
    random = np.random.default_rng(seed)
    centers = 100 * np.eye(count, 16, dtype=np.float32)
    vectors = np.repeat(centers, each, axis=0) + random.normal(size=(count * each, 16)).astype(np.float32)
    order = random.permutation(len(vectors))
    return vectors[order], np.repeat(np.arange(count), each)[order]


def test_no_cell_mixes_blobs_that_lie_far_apart():
    vectors, blob = _blobs()
    means, cell_of = two_level_cells(vectors, 60, seed=1)
    for cell in range(len(means)):
        assert len(set(blob[cell_of == cell])) == 1
    assert 48 <= len(means) <= 72


def test_centroids_are_near_the_means_and_no_cell_is_empty():
    vectors = np.random.default_rng(5).normal(size=(3_000, 8)).astype(np.float32)
    means, cell_of = two_level_cells(vectors, 100, seed=1)
    assert set(cell_of) == set(range(len(means)))
    spread = ((vectors - means[cell_of]) ** 2).sum(axis=1).mean()
    best = ((vectors - means[nearest(vectors, means)]) ** 2).sum(axis=1).mean()
    one_level = vectors[np.random.default_rng(1).choice(3_000, 100, replace=False)]
    unlearnt = ((vectors - one_level[nearest(vectors, one_level)]) ** 2).sum(axis=1).mean()
    assert best <= spread < 1.01 * best  # only few vectors have a nearer centroid among those they did not meet
    assert spread < 0.8 * unlearnt


def test_the_same_vectors_and_seed_give_the_same_bits():
    vectors, _ = _blobs()
    first, second = (two_level_cells(vectors, 40, seed=9) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize(("rows", "cells"), [(1, 1), (2, 2), (7, 7), (50, 1), (50, 49)])
def test_few_vectors(rows, cells):
    vectors = np.random.default_rng(2).normal(size=(rows, 4)).astype(np.float32)
    means, cell_of = two_level_cells(vectors, cells, seed=1)
    assert 1 <= len(means) <= rows
    assert cell_of.shape == (rows,)
    assert np.isfinite(means).all()


def test_vectors_that_are_all_the_same_share_a_cell():
    vectors = np.ones((500, 4), np.float32)
    means, cell_of = two_level_cells(vectors, 20, seed=1)
    assert len(set(cell_of)) == len(means) == 1
