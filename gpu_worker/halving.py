"""Out of memory: a model is given half as much, and no more than that from then on.

What fits depends on the machine, on the model and on what else uses them, so it is found out by
trying. A process keeps what it found: each failed try costs what it computed until then.
"""

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_worker.timing import stage
from indexer_core.ports import TextEncoder

log = logging.getLogger(__name__)

MOST_TEXTS = 65_536

# No class of their own says it: these are what torch on a CPU and ONNX Runtime write.
_PHRASES = (
    "can't allocate memory",
    "out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "is smaller than requested bytes",
)
_VENDORS = ("torch", "onnxruntime")

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less work at once might have gone well."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    is_vendors = isinstance(error, RuntimeError) or type(error).__module__.startswith(_VENDORS)
    return is_vendors and any(phrase in str(error).lower() for phrase in _PHRASES)


class Halving:
    """Gives work on in parts that fit; for one thread at a time.

    Parameters
    ----------
    most
        Items at once to begin with; `limit` is what it has become.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = most

    def over(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> list[Result]:
        """The results of all items, in order, of as few calls as may be.

        Raises
        ------
        Exception
            What `call` raises for other reasons, or out of memory for a single item.
        """
        results: list[Result] = []
        while len(results) < len(items):
            part = items[len(results) : len(results) + self.limit]
            found = self._tried(part, call)
            if found is not None:
                results.extend(found)
        return results

    def _tried(
        self, part: Sequence[Item], call: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> Sequence[Result] | None:
        try:
            return call(part)
        except Exception as error:
            if len(part) == 1 or not is_out_of_memory(error):
                raise
            self.limit = len(part) // 2
            log.warning("out of memory error=%s next=%d", type(error).__name__, self.limit)
        # Only now is the error gone, and with it what it kept alive.
        _release()
        return None


class WorkerTextEncoder:
    """`indexer_core.ports.TextEncoder` as the worker uses it: timed, and halved where it must be.

    It belongs below the cache of texts: only what is really embedded counts.
    """

    def __init__(self, inner: TextEncoder, most: int = MOST_TEXTS) -> None:
        self.encoder_id = inner.encoder_id
        self.dimension = inner.dimension
        self._inner = inner
        self._halving = Halving(most)
        self._on_gpu = runs_on_gpu(inner)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 of shape (len(texts), dimension), rows L2-normalised, in input order."""
        if not texts:
            return self._inner.encode(texts)
        with stage("texts", on_gpu=self._on_gpu):
            return np.stack(self._halving.over(texts, self._rows))

    def _rows(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return list(self._inner.encode(texts))


def runs_on_gpu(model: object) -> bool:
    """Whether a model says that it computes on a GPU: its seconds there are told apart."""
    return bool(getattr(model, "on_gpu", False))


def _release() -> None:
    gc.collect()
    # Without torch nothing of its memory is to be given back.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
