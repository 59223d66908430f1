"""The image encoders of a program: its own, and further ones that are found by their id.

An index may change its image encoder while programs run (`indexer_core.index.switching`). Exports
lie beside the index; the one that the index asks for is loaded when it does.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from threading import Lock
from typing import overload

from indexer_core.ports import ImageEncoder

FindImageEncoder = Callable[[str], ImageEncoder | None]
"""The image encoder of an id, or None where there is none (yet)."""


class ImageEncoders:
    """Finds image encoders by their id, and keeps those that it found; safe for several threads."""

    def __init__(self, own: Sequence[ImageEncoder], find: FindImageEncoder) -> None:
        """`own`: what needs no finding. `find` may take seconds."""
        self._own = tuple(own)
        self._loaded = {encoder.encoder_id: encoder for encoder in own}
        self._find = find
        self._lock = Lock()

    @property
    def own_ids(self) -> Collection[str]:
        """Ids of the program's own encoders."""
        return [encoder.encoder_id for encoder in self._own]

    @property
    def ids(self) -> Collection[str]:
        """Ids of what can be found; to be listed, those of the program's own encoders only."""
        return _Ids(self)

    def find(self, encoder_id: str) -> ImageEncoder | None:
        """The encoder of this id, loaded at its first use."""
        with self._lock:
            encoder = self._loaded.get(encoder_id) or self._find(encoder_id)
            if encoder is not None:
                self._loaded[encoder_id] = encoder
            return encoder

    def wanted(self, wanted: Callable[[], Sequence[str]]) -> Sequence[ImageEncoder]:
        """Those that are asked for at the moment, as far as they can be found."""
        return _Wanted(self, wanted)

    def __iter__(self) -> Iterator[ImageEncoder]:
        return iter(self._own)


class _Ids(Collection[str]):
    def __init__(self, encoders: ImageEncoders) -> None:
        self._encoders = encoders

    def __contains__(self, encoder_id: object) -> bool:
        return isinstance(encoder_id, str) and self._encoders.find(encoder_id) is not None

    def __iter__(self) -> Iterator[str]:
        return (encoder.encoder_id for encoder in self._encoders)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Wanted(Sequence[ImageEncoder]):
    def __init__(self, encoders: ImageEncoders, wanted: Callable[[], Sequence[str]]) -> None:
        self._encoders = encoders
        self._wanted = wanted

    def _now(self) -> list[ImageEncoder]:
        found = (self._encoders.find(encoder_id) for encoder_id in self._wanted())
        return [encoder for encoder in found if encoder is not None]

    @overload
    def __getitem__(self, index: int) -> ImageEncoder: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ImageEncoder]: ...
    def __getitem__(self, index: int | slice) -> ImageEncoder | Sequence[ImageEncoder]:
        return self._now()[index]

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[ImageEncoder]:
        return iter(self._now())
