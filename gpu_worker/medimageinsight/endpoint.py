"""MedImageInsight as an endpoint: `indexer_core.ports.PictureTextEncoder` over HTTP."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from threading import Lock, Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_worker.medimageinsight.client import EndpointClient, EndpointSettings, checked_url
from gpu_worker.medimageinsight.credentials import Credential
from gpu_worker.medimageinsight.wire import (
    DIMENSION,
    PICTURES,
    PUBLISHED_SCALE,
    RECIPE,
    WORDING,
    Answer,
    Column,
    RefusedError,
    image_rows,
    text_rows,
)
from indexer_core.errors import UnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

_PROBE_TEXT = "x-ray chest anteroposterior"


class EndpointEncoder:
    """Pictures and texts to vectors of one space, by an endpoint. Safe for several threads.

    While it works, an endpoint that refuses is one that cannot answer now: a key may have been
    changed, and no series is at fault. Only `check` says that the settings are wrong.

    Parameters
    ----------
    version
        What the operator calls the model behind the endpoint. Nothing in an answer tells.
    client
        Further arguments of `EndpointClient`.
    """

    recipe = RECIPE
    wording = WORDING

    def __init__(
        self,
        settings: EndpointSettings,
        credential: Credential | None,
        *,
        version: str = "1",
        dimension: int = DIMENSION,
        **client: Any,
    ) -> None:
        checked_url(settings.url)
        self.encoder_id = f"medimageinsight/{version}/{PICTURES}-{RECIPE.recipe_id}"
        self.dimension = dimension
        self._loop = _Loop()
        self._client: EndpointClient | None = None
        self._make: Callable[[], EndpointClient] = partial(
            EndpointClient, settings, credential, dimension=dimension, **client
        )
        self._scale: float | None = None

    def encode_slices(self, slices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Pictures of shape (rows, columns), values in [0, 1], to float32 (n, dimension)."""
        return self._working("image", image_rows(slices))

    def encode_labels(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to float32 (n, dimension), rows L2-normalised."""
        return self._working("text", text_rows(texts))

    @property
    def scale(self) -> float:
        """As answers have told it, else as it was published."""
        return PUBLISHED_SCALE if self._scale is None else self._scale

    def check(self) -> NDArray[np.float32]:
        """Ask for one text and one picture.

        Returns
        -------
        ndarray of float32, shape (2, dimension)
            Their vectors: of the same model always the same, as far as its devices count alike.

        Raises
        ------
        InvalidInputError
            The endpoint is not one of MedImageInsight, or refuses us.
        UnavailableError
            It does not answer now.
        """
        text = self._ask("text", text_rows([_PROBE_TEXT]))
        picture = self._ask("image", image_rows([_probe_picture()]))
        if self._scale is None:
            log.warning("the endpoint tells no scaling factor; the published one is used")
        return np.concatenate([text.vectors, picture.vectors])

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._loop.run(self._client.close())
        self._loop.close()

    def _working(self, column: Column, rows: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        if not rows:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            return self._ask(column, rows).vectors
        except RefusedError as error:
            log.error("%s", error)  # noqa: TRY400 - one line says it all
            raise UnavailableError(str(error)) from error
        except UnavailableError as error:
            log.warning("%s", error)
            raise

    def _ask(self, column: Column, rows: Sequence[Sequence[str]]) -> Answer:
        answer = self._loop.run(self._asked(column, rows))
        if answer.scale is not None:
            self._scale = answer.scale
        return answer

    async def _asked(self, column: Column, rows: Sequence[Sequence[str]]) -> Answer:
        if self._client is None:
            self._client = self._make()
        return await self._client.ask(column, rows)


def _probe_picture() -> NDArray[np.float32]:
    """A bright disc on a ramp."""
    row, column = np.mgrid[-1:1:64j, -1:1:64j]
    disc = (row**2 + column**2 < 0.25).astype(np.float32)
    picture: NDArray[np.float32] = (0.6 * disc + 0.1 * (column + 1)).astype(np.float32)
    return picture


class _Loop:
    """An event loop in a thread of its own, begun when it is first needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, or raises."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def close(self) -> None:
        """End it; what is under way is dropped."""
        with self._lock:
            if self._loop is None or self._thread is None:
                return
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
                self._thread.start()
            return self._loop
