"""Out of memory: half as much at once, and no more than that from then on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.halving import Halving, WorkerTextEncoder, is_out_of_memory
from gpu_worker.timing import Timings
from tests.support.pipeline import HashTextEncoder


class Memory:
    """A call that holds `fits` items at once."""

    def __init__(self, fits, error=MemoryError):
        self.fits = fits
        self.error = error
        self.sizes = []

    def __call__(self, items):
        self.sizes.append(len(items))
        if len(items) > self.fits:
            raise self.error
        return [-item for item in items]


@given(
    most=st.integers(1, 40),
    fits=st.integers(1, 50),
    calls=st.lists(st.integers(0, 60), max_size=4),
)
def test_all_is_computed_in_order_and_what_failed_is_never_tried_again(most, fits, calls):
    halving, memory = Halving(most), Memory(fits)
    for n_items in calls:
        items = list(range(n_items))
        assert halving.over(items, memory) == [-item for item in items]
    failed = [size for size in memory.sizes if size > fits]
    # Each failure halves: nothing as large comes again, over all calls.
    assert failed == sorted(set(failed), reverse=True)
    assert all(size <= most for size in memory.sizes)
    if failed:
        assert max(memory.sizes[memory.sizes.index(failed[-1]) + 1 :]) <= failed[-1] // 2
        assert halving.limit == failed[-1] // 2


def test_what_fits_is_given_in_as_few_calls_as_may_be():
    memory = Memory(fits=100)
    Halving(10).over(list(range(25)), memory)
    assert memory.sizes == [10, 10, 5]


def test_a_single_item_that_does_not_fit_is_an_error():
    halving = Halving(4)
    with pytest.raises(MemoryError):
        halving.over([1, 2, 3], Memory(fits=0))


def test_another_error_is_no_reason_to_halve():
    halving, memory = Halving(4), Memory(fits=2, error=ValueError)
    with pytest.raises(ValueError):
        halving.over([1, 2, 3], memory)
    assert (halving.limit, memory.sizes) == (4, [3])


def test_what_torch_says_on_a_cpu_is_understood():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**15)
    assert is_out_of_memory(raised.value)


def test_what_torch_says_on_a_gpu_is_understood():
    torch = pytest.importorskip("torch")
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_onnx_runtime_says_is_understood():
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["zeros"])],
        "zeros",
        [helper.make_tensor_value_info("shape", kinds.INT64, [2])],
        [helper.make_tensor_value_info("zeros", kinds.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options)
    with pytest.raises(Exception) as raised:
        session.run(None, {"shape": np.array([10**7, 10**7], dtype=np.int64)})
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError("No space left on device"),
    ],
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


class SmallEncoder(HashTextEncoder):
    """Runs out of memory with more than `fits` texts, on a GPU."""

    on_gpu = True
    fits = 3

    def encode(self, texts):
        if len(texts) > self.fits:
            raise MemoryError
        return super().encode(texts)


def test_texts_are_embedded_in_parts_that_fit_and_the_vectors_are_the_same():
    texts = [f"text {number}" for number in range(10)]
    whole = HashTextEncoder().encode(texts)
    inner = SmallEncoder()
    encoder = WorkerTextEncoder(inner)
    np.testing.assert_array_equal(encoder.encode(texts), whole)
    np.testing.assert_array_equal(encoder.encode(texts), whole)
    assert (encoder.encoder_id, encoder.dimension) == (inner.encoder_id, inner.dimension)
    assert encoder.encode([]).shape == (0, inner.dimension)


def test_seconds_of_embedding_count_for_the_batch_and_for_the_gpu():
    ticks = iter(range(100))
    timings = Timings(lambda: float(next(ticks)))
    with timings.running():
        WorkerTextEncoder(SmallEncoder()).encode(["a"])
    assert timings.seconds["texts"] == timings.gpu_s == 1.0
    with timings.running():
        WorkerTextEncoder(HashTextEncoder()).encode(["a"])
    assert (timings.seconds["texts"], timings.gpu_s) == (2.0, 1.0)
