"""How texts are put together for an exported encoder: every one once, next to no padding."""

from hypothesis import given
from hypothesis import strategies as st

from indexer_core.adapters.onnx_text import (
    BATCH_SIZE,
    FULL_TOKENS,
    MOST_PADDING,
    _batches,
    _inputs,
)

LENGTHS = st.lists(st.integers(2, 256), max_size=200)


@given(LENGTHS)
def test_every_text_is_in_one_batch_and_the_longest_come_first(lengths):
    batches = list(_batches(lengths))
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[row] for row in order] == sorted(lengths, reverse=True)
    assert all(1 <= len(batch) <= BATCH_SIZE for batch in batches)


@given(LENGTHS)
def test_little_is_padded(lengths):
    for batch in _batches(lengths):
        n_tokens = sum(lengths[row] for row in batch)
        padded = len(batch) * lengths[batch[0]]
        # What fits is decided row by row, so a batch that shrinks stays within it, too.
        assert padded <= (1 + MOST_PADDING) * n_tokens


def test_texts_of_one_length_that_fill_a_batch_are_not_padded():
    n_full = -(-FULL_TOKENS // 20)
    assert list(_batches([20] * n_full + [19])) == [list(range(n_full)), [n_full]]


def test_few_texts_of_nearly_one_length_go_together():
    assert list(_batches([26, 27, 26, 60])) == [[3], [1, 0, 2]]


def test_what_is_padded_is_masked():
    inputs = _inputs([[5, 6, 7], [8, 9]])
    assert inputs["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
