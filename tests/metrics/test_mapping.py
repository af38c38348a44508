"""Clusters to classes: contingency, both mappings, and what a mapping does to the counts."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bioseg_cli.errors import DataError
from bioseg_cli.metrics.confusion import confusion_counts
from bioseg_cli.metrics.mapping import (
    class_labels,
    class_probabilities,
    contingency,
    hungarian,
    many_to_one,
    mapped_counts,
    most_probable,
)

tables = arrays(np.int64, (4, 4), elements=st.integers(0, 1000))


@given(tables)
def test_hungarian_matches_as_many_pixels_as_the_best_permutation(table):
    mapping = hungarian(table)
    assert sorted(mapping) == [0, 1, 2, 3]
    best = max(sum(table[i, order[i]] for i in range(4)) for order in permutations(range(4)))
    assert table[np.arange(4), mapping].sum() == best


@given(tables)
def test_many_to_one_matches_at_least_as_many_pixels(table):
    matched = table[np.arange(4), many_to_one(table)].sum()
    assert matched == table.max(axis=1).sum() >= table[np.arange(4), hungarian(table)].sum()


def test_ties_go_to_the_lowest_class_and_empty_clusters_to_background():
    table = np.array([[5, 5, 0], [0, 3, 3], [0, 0, 0], [1, 0, 9]])
    np.testing.assert_array_equal(many_to_one(table), [0, 1, 0, 2])


@given(
    arrays(np.uint8, (6, 6), elements=st.integers(0, 4)),
    arrays(np.uint8, (6, 6), elements=st.sampled_from([0, 1, 2, 255])),
)
def test_counts_after_a_mapping_are_those_of_the_mapped_image(clusters, labels):
    table = contingency(clusters, labels, 5, 3, ignore=255)
    mapping = many_to_one(table)
    expected = confusion_counts(labels, mapping[clusters], 3, ignore=255)
    np.testing.assert_array_equal(mapped_counts(table, mapping), expected)


def test_a_mapping_is_fitted_on_one_image_and_applied_to_another():
    fitted = hungarian(contingency(np.array([1, 1, 0]), np.array([0, 0, 1]), 2, 2))
    np.testing.assert_array_equal(fitted[np.array([0, 1, 1, 1])], [1, 0, 0, 0])


def test_one_to_one_needs_equal_numbers():
    with pytest.raises(ValueError, match="got 5 and 2"):
        hungarian(np.ones((5, 2), dtype=np.int64))


def test_a_cluster_out_of_range_is_refused():
    with pytest.raises(DataError, match="clusters hold 4"):
        contingency(np.array([0, 4]), np.array([0, 1]), 4, 2)


def test_probabilities_of_a_class_are_those_of_its_clusters_together():
    clusters = np.random.default_rng(0).dirichlet(np.ones(4), (2, 5, 6)).astype(np.float32)
    clusters = np.moveaxis(clusters, -1, 1)
    mapping = np.array([2, 0, 2, 0])
    summed = class_probabilities(clusters, mapping, 3)
    assert summed.shape == (2, 3, 5, 6)
    assert summed.dtype == np.float32
    np.testing.assert_allclose(summed.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(summed[:, 2], clusters[:, 0] + clusters[:, 2])
    assert (summed[:, 1] == 0).all()
    np.testing.assert_array_equal(class_probabilities(clusters[1], mapping, 3), summed[1])


def test_labels_of_clusters_are_codes_in_the_type_asked_for():
    labels = class_labels(np.array([[0, 3], [1, 1]]), np.array([2, 0, 2, 1]), np.dtype(np.uint8))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, [[2, 1], [0, 0]])


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 6), st.just(4), st.just(3)),
        elements=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    )
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_most_probable_channel_is_that_of_argmax(dtype, probabilities):
    found = most_probable(probabilities, np.dtype(dtype))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, probabilities.argmax(axis=1))


def test_the_most_probable_of_more_channels_than_a_byte_holds():
    probabilities = np.zeros((300, 2, 2), dtype=np.float32)
    probabilities[299, 0, 1] = probabilities[257, 1, 0] = 1
    np.testing.assert_array_equal(most_probable(probabilities, np.dtype(np.uint16)), [[0, 299], [257, 0]])
