"""The thread that makes batches ahead: same items, errors handed over, stopped with its reader."""

import threading

import pytest

from training.retrieval.prepared_ahead import AHEAD, prepared_ahead


def test_the_items_come_in_order():
    assert list(prepared_ahead(iter(range(20)))) == list(range(20))


def test_what_the_maker_raises_is_raised_after_what_it_made():
    def broken():
        yield 1
        raise ValueError("no more rows")

    made = prepared_ahead(broken())
    assert next(made) == 1
    with pytest.raises(ValueError, match="no more rows"):
        next(made)


def test_a_reader_who_stops_early_leaves_no_thread_and_few_items_made():
    made = []

    def endless():
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    reader = prepared_ahead(endless())
    assert next(reader) == 0
    reader.close()
    assert threading.active_count() == before
    assert len(made) <= 3 * (AHEAD + 2)
