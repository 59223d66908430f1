"""What an endpoint may answer, whatever it is: understood, or one of three errors."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpu_worker.medimageinsight.wire import (
    Answer,
    MalformedAnswerError,
    RefusedError,
    UnusableVectorError,
    image_rows,
    parse_answer,
    request_of,
    text_rows,
    understood,
)

KNOWN = (MalformedAnswerError, RefusedError, UnusableVectorError)
NAMES = st.sampled_from(["image_features", "text_features", "scaling_factor", "error", ""])
numbers = st.floats() | st.integers(-3, 3) | st.none() | st.booleans() | st.text(max_size=3)
documents = st.recursive(
    numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=24,
)


@given(documents, st.sampled_from(["image", "text"]), st.integers(1, 4), st.integers(1, 4))
@example([{"text_features": [[]]}], "text", 1, 3)
@example({"text_features": {"0": [1.0]}}, "text", 1, 1)
@example([{"text_features": [1.0, 2.0]}, {"text_features": [1.0]}], "text", 2, 2)
@example([{"text_features": [1.0], "scaling_factor": {}}], "text", 1, 1)
@example([{"text_features": [1e308, 1e308]}], "text", 1, 2)
@example({"text_features": [[1.0], [2.0]]}, "text", 1, 2)
@example({"text_features": True}, "text", 1, 1)
def test_any_document_is_understood_or_refused(document, column, n_rows, dimension):
    try:
        answer = parse_answer(json.dumps(document), column, n_rows, dimension)
    except KNOWN:
        return
    assert isinstance(answer, Answer)
    assert answer.vectors.shape == (n_rows, dimension)
    assert answer.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(answer.vectors, axis=1), 1, atol=1e-5)
    assert answer.scale is None or answer.scale > 0


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_any_bytes_are_understood_or_refused(body):
    with pytest.raises(KNOWN):
        parse_answer(body, "image", 2, 3)


vectors = st.lists(
    st.lists(st.floats(-5, 5), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 0.1),
    min_size=1,
    max_size=4,
)


@given(vectors, st.floats(-3, 5), st.data())
def test_however_vectors_are_nested_they_are_the_same(rows, factor, data):
    def nested(vector):
        for _ in range(data.draw(st.integers(0, 2))):
            vector = [vector]
        return vector

    scale = data.draw(st.sampled_from([factor, [factor], [[factor]]]))
    listed = [{"image_features": nested(row), "scaling_factor": scale} for row in rows]
    plain = {"image_features": nested(rows), "scaling_factor": scale}
    expected = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    for document in (listed, plain):
        if document is listed and len({str(row).count("[") for row in listed}) > 1:
            continue  # no model nests its rows differently
        answer = understood(document, "image", len(rows), 3)
        np.testing.assert_allclose(answer.vectors, expected, atol=1e-6)
        assert answer.scale == pytest.approx(np.exp(factor))


def test_a_request_is_the_table_that_is_documented():
    picture = np.zeros((2, 2), dtype=np.float32)
    body = request_of([*image_rows([picture])])
    [[image, text]] = body["input_data"]["data"]
    assert (body["input_data"]["columns"], text) == (["image", "text"], "")
    assert image.startswith("iVBORw0KGgo")  # a PNG in base64, without line breaks
    assert "\n" not in image
    assert request_of(text_rows(["a", "b"])) == {
        "input_data": {
            "columns": ["image", "text"],
            "index": [0, 1],
            "data": [["", "a"], ["", "b"]],
        },
        "params": {"get_scaling_factor": True},
    }
