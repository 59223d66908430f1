"""Child processes that decode: a hostile file takes down a child, not the program.

Decoders are C code that meets foreign bytes. Each thread that decodes has a child of its own, which
is used again and again. A child limits itself: its memory by the kernel, its time by an alarm whose
signal ends it, whatever code it is stuck in. One that ends is replaced.
"""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from queue import Empty, LifoQueue
from typing import Self

import numpy as np

from indexer_core.errors import UnavailableError
from indexer_core.pixels.errors import PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import MEBIBYTE, PixelLimits, PixelRecipe
from indexer_core.pixels.stack import Slice

LENGTHS = struct.Struct("<IQ")
"""Before every message: bytes of its JSON, then bytes of what follows it."""

_STARTING_S = 30
# Neither keys nor addresses: who takes over a child shall find nothing in it.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """What decoding the slices of one object may take.

    Parameters
    ----------
    seconds
        Time on the clock, for all slices of the object together.
    memory_bytes
        Address space beside three times the object itself, which is held, parsed and cut.
    """

    seconds: int = 60
    memory_bytes: int = 3 * 1024 * MEBIBYTE


class DecodingChildren:
    """`indexer_core.pixels.stack.Decode` in child processes; for any number of threads.

    A context manager: leaving it ends the children.
    """

    def __init__(self, limits: ChildLimits | None = None) -> None:
        self.limits = limits or ChildLimits()
        self._idle: LifoQueue[_Child] = LifoQueue()

    def __call__(
        self,
        data: bytes,
        frames: Sequence[int] | None,
        recipe: PixelRecipe,
        limits: PixelLimits,
    ) -> Sequence[Slice]:
        """Prepared slices, as `indexer_core.pixels.stack.slices_from_bytes` makes them.

        An object that ends two children is the one to blame; after the first it may have been what
        an earlier object left in that child.

        Raises
        ------
        UnavailableError
            No child can be started.
        """
        n_expected = 1 if frames is None else len(frames)
        asked = {"frames": None if frames is None else list(frames)}
        return self._decoded(asked, data, recipe, limits, n_expected)

    def picture(self, data: bytes, recipe: PixelRecipe, limits: PixelLimits) -> Slice:
        """A prepared slice of a PNG or JPEG file, as `pictures.slice_of_picture` makes it.

        Raises
        ------
        UnavailableError
            No child can be started.
        """
        return self._decoded({"picture": True}, data, recipe, limits, 1)[0]

    def _decoded(
        self,
        asked: Mapping[str, object],
        data: bytes,
        recipe: PixelRecipe,
        limits: PixelLimits,
        n_expected: int,
    ) -> Sequence[Slice]:
        request = {
            **asked,
            "recipe": asdict(recipe),
            "limits": asdict(limits),
            "seconds": self.limits.seconds,
            "memory_bytes": self.limits.memory_bytes + 3 * len(data),
        }
        problem = PixelProblem.CRASHED
        for child in (self._child(), None):
            used = child or _Child()
            answer = used.ask(request, data, recipe, n_expected)
            if not isinstance(answer, PixelProblem):
                self._idle.put(used)
                return answer
            problem = answer
            used.end()
            if problem is not PixelProblem.CRASHED:
                break
        return (PixelsUnavailable(problem),) * n_expected

    def close(self) -> None:
        """End the children that are idle."""
        while True:
            try:
                self._idle.get_nowait().end()
            except Empty:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _child(self) -> "_Child":
        try:
            return self._idle.get_nowait()
        except Empty:
            return _Child()


class _Child:
    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        # Threads reserve address space, and one object at a time needs none.
        environment["OPENBLAS_NUM_THREADS"] = environment["OMP_NUM_THREADS"] = "1"
        try:
            self._process = subprocess.Popen(
                # -P: no module comes from the folder in which the user happens to be.
                [sys.executable, "-P", "-m", "indexer_core.adapters.decoding.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                # Ctrl-C is for the program, which finishes what it began.
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError("no process for decoding can be started") from error

    def ask(
        self, request: Mapping[str, object], data: bytes, recipe: PixelRecipe, n_expected: int
    ) -> tuple[Slice, ...] | PixelProblem:
        """Its answer, or why it has none: it ended, or talks nonsense."""
        assert self._process.stdin is not None
        head = json.dumps(request).encode()
        try:
            self._process.stdin.write(LENGTHS.pack(len(head), len(data)) + head)
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError:
            return self._cause_of_end()
        answer = self._answer(recipe, n_expected)
        return self._cause_of_end() if answer is None else answer

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except OSError:
                continue  # what it did not take is still in the buffer

    def _answer(self, recipe: PixelRecipe, n_expected: int) -> tuple[Slice, ...] | None:
        # Nothing it says is believed: hostile bytes may be talking.
        lengths = self._read(LENGTHS.size)
        if lengths is None:
            return None
        n_head, n_body = LENGTHS.unpack(lengths)
        size_bytes = 4 * recipe.rows * recipe.columns
        most = max(n_expected, recipe.n_slices)
        if n_head > 100 * (most + 1) or n_body > most * size_bytes:
            return None
        head, body = self._read(n_head), self._read(n_body)
        if head is None or body is None:
            return None
        try:
            problems = [None if p is None else PixelProblem(p) for p in json.loads(head)]
        except (ValueError, TypeError):
            return None
        if len(problems) > most or problems.count(None) * size_bytes != n_body:
            return None
        shape = (problems.count(None), recipe.rows, recipe.columns)
        found = iter(np.frombuffer(body, dtype="<f4").reshape(shape))
        slices = tuple(next(found) if p is None else PixelsUnavailable(p) for p in problems)
        in_range = all(
            bool(np.all((item >= 0) & (item <= 1)))
            for item in slices
            if not isinstance(item, PixelsUnavailable)
        )
        return slices if in_range else None

    def _read(self, n_bytes: int) -> bytes | None:
        assert self._process.stdout is not None
        data = self._process.stdout.read(n_bytes)
        return data if len(data) == n_bytes else None

    def _cause_of_end(self) -> PixelProblem:
        try:
            status = self._process.wait(timeout=_STARTING_S)
        except subprocess.TimeoutExpired:
            return PixelProblem.CRASHED  # it lives, and talks nonsense
        return PixelProblem.TOO_SLOW if status == -signal.SIGALRM else PixelProblem.CRASHED
