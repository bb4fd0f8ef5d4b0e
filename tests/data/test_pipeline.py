"""Packing, against a second implementation in plain loops."""

import itertools
import random

import grain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.data import TextDocument
from axl_exp.data.pipeline import Share, evaluation_batches, tokenize, training_batches
from axl_exp.data.rows import source_of_row

_EOS = 1


class _Letters:
    """A vocabulary in which a letter is a token; ü has two bytes."""

    size = 300
    eos_id = _EOS
    num_bytes = np.array([0, 0, *([1] * 250), *([2] * 48)], np.int32)

    def encode(self, text):
        return [ord(c) for c in text]


def _tokens(texts):
    documents = [TextDocument(t, len(t.encode())) for t in texts]
    return grain.MapDataset.source(documents).map(
        lambda document: tokenize(document, vocabulary=_Letters())
    )


def _random_texts(rng: random.Random) -> list[str]:
    return [
        "".join(rng.choices("abcdefghijklmnopqrstuvwxyzü", k=rng.choice([0, 1, 3, 7, 8, 9, 40])))
        for _ in range(rng.randrange(1, 12))
    ]


def _pack_by_hand(texts, *, width: int) -> list[dict[str, list[int]]]:
    """Rows of `width`, one target at a time; the last row is padded with zeros."""
    rows = []
    row = None
    for text in texts:
        previous = _EOS
        is_first = True
        for target, num_bytes in [(ord(c), len(c.encode())) for c in text] + [(_EOS, 0)]:
            if row is None or len(row["targets"]) == width:
                keys = ("inputs", "targets", "target_bytes", "segment_ids", "positions")
                row = {key: [] for key in keys}
                rows.append(row)
                segment, position = 1, 0
            elif is_first:
                segment, position = segment + 1, 0
            row["inputs"].append(previous)
            row["targets"].append(target)
            row["target_bytes"].append(num_bytes)
            row["segment_ids"].append(segment)
            row["positions"].append(position)
            previous, position, is_first = target, position + 1, False
    for values in rows[-1].values():
        values += [0] * (width - len(values))
    return rows


def _rows_of(batches) -> list[dict[str, list[int]]]:
    return [
        {key: values[i].tolist() for key, values in batch.items()}
        for batch in batches
        for i in range(len(batch["targets"]))
    ]


def _documents_in(rows) -> list[str]:
    """The documents in a stream of rows, each as its text; an unfinished last one is left out."""
    found, text = [], ""
    for row in rows:
        for target, segment in zip(row["targets"], row["segment_ids"], strict=True):
            if segment and target == _EOS:
                found.append(text)
                text = ""
            elif segment:
                text += chr(target)
    return found


def _evaluate(texts, share, *, stride_tokens=None, num_batches=None):
    return evaluation_batches(
        _tokens(texts),
        share,
        stride_tokens=stride_tokens,
        num_batches=num_batches,
        num_read_threads=0,
    )


def _share(width, size, *, rows=None):
    return Share(width, size, tuple(range(size)) if rows is None else rows)


def _train(texts, *, num_batches: int, seed: int, width=8, size=1, rows=None, num_read_threads=0):
    batches = iter(
        training_batches(
            [(_tokens(texts), 1.0)],
            _share(width, size, rows=rows),
            seed=seed,
            shuffle=True,
            num_read_threads=num_read_threads,
        )
    )
    return _rows_of(next(batches) for _ in range(num_batches))


@pytest.mark.parametrize("seed", range(15))
def test_evaluation_packs_as_plain_loops_do(seed):
    rng = random.Random(seed)
    texts = _random_texts(rng)
    width, size = rng.choice([1, 2, 8, 13]), rng.choice([1, 2, 3])
    rows = _rows_of(_evaluate(texts, _share(width, size)))
    by_hand = _pack_by_hand(texts, width=width)
    assert rows[: len(by_hand)] == by_hand
    padding = rows[len(by_hand) :]
    assert len(padding) < size
    assert all(not any(values) for row in padding for values in row.values())
    assert _documents_in(rows) == texts


@pytest.mark.parametrize("seed", range(15))
def test_training_packs_as_plain_loops_do_over_several_epochs(seed):
    rng = random.Random(seed)
    texts = _random_texts(rng)
    rows = _train(texts, num_batches=60, seed=seed)
    order = _documents_in(rows)
    assert len(order) > len(texts)
    by_hand = _pack_by_hand(order, width=8)
    # The last document that is complete may end in the middle of a row.
    assert rows[: len(by_hand) - 1] == by_hand[:-1]


def test_every_epoch_has_every_document_once_in_another_order():
    texts = [chr(100 + i) * (i % 5 + 1) for i in range(17)]
    order = _documents_in(_train(texts, num_batches=80, seed=7))
    epochs = [order[i : i + 17] for i in range(0, len(order) - 16, 17)]
    assert len(epochs) >= 5
    assert all(sorted(epoch) == sorted(texts) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_the_order_follows_from_the_seed():
    texts = [chr(100 + i) for i in range(30)]
    first, again, other = (_train(texts, num_batches=5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_without_shuffling_every_epoch_has_the_order_of_the_dataset():
    texts = [chr(100 + i) * (i % 5 + 1) for i in range(9)]
    batches = iter(
        training_batches(
            [(_tokens(texts), 1.0)], _share(8, 1), seed=1, shuffle=False, num_read_threads=0
        )
    )
    order = _documents_in(_rows_of(next(batches) for _ in range(20)))
    assert len(order) > 3 * len(texts)
    assert order == (texts * (len(order) // len(texts) + 1))[: len(order)]


@pytest.mark.parametrize("weights", [(3.0, 1.0), (0.2, 0.3), (0.726, 0.021)])
def test_each_part_of_a_mixture_has_its_share_of_the_rows_and_packs_as_it_would_alone(weights):
    parts = [["aaaa", "aa", "a"] * 3, ["bbbbbbbbb", "bbb"] * 2]
    mixed = [(_tokens(texts), weight) for texts, weight in zip(parts, weights, strict=True)]
    share = _share(8, 4)
    batches = iter(training_batches(mixed, share, seed=2, shuffle=True, num_read_threads=0))
    rows = _rows_of(next(batches) for _ in range(100))
    letters = [{chr(t) for t in row["targets"]} - {chr(_EOS)} for row in rows]
    counts = [sum(letter in found for found in letters) for letter in "ab"]
    assert sum(counts) == len(rows)  # No row has text of both.
    # Not drawn at random: after any number of rows a share is off by no more than a row or two.
    assert abs(counts[0] - len(rows) * weights[0] / sum(weights)) <= 2
    # In each of the four rows, the text of a part goes on as if there was no other.
    alone = _train(parts[1], num_batches=100, seed=2, size=4)
    for index in range(4):
        found = [row for row in rows[index::4] if chr(row["targets"][0]) == "b"]
        assert len(found) > 1
        assert found == alone[index::4][: len(found)]


def test_a_part_of_a_mixture_is_in_every_row_of_the_batch_in_its_turn():
    weights = (1.0, 1.0, 2.0)
    picked = np.array(
        [
            [source_of_row(t, b, global_batch_size=8, weights=weights) for b in range(8)]
            for t in range(400)
        ]
    )
    for source, share in enumerate((0.25, 0.25, 0.5)):
        is_it = picked == source
        assert (abs(is_it.sum(axis=1) - 8 * share) <= 1).all()
        assert (abs(is_it.mean(axis=0) - share) < 0.01).all()


@pytest.mark.parametrize("num_read_threads", [0, 3])
@pytest.mark.parametrize("size", [2, 3])
def test_the_documents_of_one_global_order_are_dealt_to_the_rows_which_pack_them_as_plain_loops_do(
    size, num_read_threads
):
    texts = [chr(100 + i) * (i % 7) for i in range(17)]
    order = _documents_in(_train(texts, num_batches=60, seed=5))
    rows = _train(texts, num_batches=12, seed=5, size=size, num_read_threads=num_read_threads)
    for index in range(size):
        own = rows[index::size]
        by_hand = _pack_by_hand(order[index::size], width=8)
        assert len(by_hand) > len(own)
        assert own == by_hand[: len(own)]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("abcü", max_size=20), min_size=1, max_size=9),
    width=st.integers(1, 17),
    size=st.integers(1, 5),
    num_batches=st.integers(1, 8),
    stop=st.integers(0, 8),
)
def test_any_row_of_any_batch_is_that_of_plain_loops_resumed_anywhere(
    texts, width, size, num_batches, stop
):
    batches = training_batches(
        [(_tokens(texts), 1.0)], _share(width, size), seed=0, shuffle=False, num_read_threads=0
    )
    iterator, found = iter(batches), []
    for i in range(num_batches):
        if i == stop:
            state, iterator = iterator.get_state(), iter(batches)
            iterator.set_state(state)
        found.append(next(iterator))
    rows = _rows_of(found)
    for row in range(size):
        # Its documents are each size-th of the endlessly repeated texts; more than are needed.
        own = itertools.islice(itertools.cycle(texts), row, None, size)
        by_hand = _pack_by_hand(list(itertools.islice(own, width * num_batches)), width=width)
        assert rows[row::size] == by_hand[:num_batches]


@pytest.mark.parametrize("parts", [[(0, 1, 2, 3), (4, 5)], [(0, 3), (1, 2, 4), (5,)]])
def test_processes_read_the_rows_that_one_process_would(parts):
    texts = [chr(100 + i) * (i % 7) for i in range(17)]
    whole = _train(texts, num_batches=12, seed=5, size=6)
    for rows in parts:
        own = _train(texts, num_batches=12, seed=5, size=6, rows=rows)
        assert own == [row for i, row in enumerate(whole) if i % 6 in rows]


@pytest.mark.parametrize("stride_tokens", [None, 2])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_evaluate_the_rows_that_one_process_would(count, stride_tokens):
    texts = _random_texts(random.Random(3)) * 3

    def evaluate(index, count):
        share = _share(8, 4, rows=tuple(range(4))[index * 4 // count : (index + 1) * 4 // count])
        return list(_evaluate(texts, share, stride_tokens=stride_tokens))

    whole = evaluate(0, 1)
    parts = [evaluate(i, count) for i in range(count)]
    assert all(len(part) == len(whole) for part in parts)
    for i, batch in enumerate(whole):
        for key, values in batch.items():
            np.testing.assert_array_equal(values, np.concatenate([p[i][key] for p in parts]))


def test_evaluation_can_be_cut_short():
    texts = ["abcdefg"] * 10
    share = _share(8, 2)
    batches = list(_evaluate(texts, share, num_batches=3))
    assert _rows_of(batches) == _pack_by_hand(texts, width=8)[:6]


def test_target_bytes_of_a_document_add_up_whatever_was_done_to_its_text():
    changed = TextDocument("a<n>b", len("a\nb"))
    pairs = tokenize(changed, vocabulary=_Letters())["pairs"]
    assert pairs[:, 2].tolist() == [1, 1, 1, 1, 1, -2]
    exact = tokenize(TextDocument("aü", 3), vocabulary=_Letters())["pairs"]
    assert exact.tolist() == [[_EOS, 97, 1], [97, 252, 2], [252, _EOS, 0]]
