"""The program of a decoding child: objects in, prepared slices out, until its input ends."""

import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

import numpy as np

from indexer_core.adapters.decoding.children import LENGTHS
from indexer_core.adapters.decoding.pictures import slice_of_picture
from indexer_core.pixels.errors import PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import PixelLimits, PixelRecipe
from indexer_core.pixels.stack import Slice, slices_from_bytes


def main() -> None:
    """Answer requests; see `indexer_core.adapters.decoding.children`."""
    # C libraries print what they like: that must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (request := _read(sys.stdin.buffer)) is not None:
        head, data = request
        _answer(answers, _limited(head, data))


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    n_head, n_data = LENGTHS.unpack(lengths)
    head, data = stream.read(n_head), stream.read(n_data)
    if len(data) < n_data:
        return None
    request: dict[str, Any] = json.loads(head)
    return request, data


def _limited(request: dict[str, Any], data: bytes) -> list[Slice]:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(request["memory_bytes"])
    allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    # Its default action ends the process, in the middle of C code, too.
    signal.alarm(int(request["seconds"]))
    recipe = PixelRecipe(**request["recipe"])
    limits = PixelLimits(**request["limits"])
    frames = request.get("frames")
    try:
        if request.get("picture"):
            return [slice_of_picture(data, recipe, limits)]
        return list(slices_from_bytes(data, frames, recipe, limits))
    except MemoryError:
        return [PixelsUnavailable(PixelProblem.TOO_LARGE)] * (1 if frames is None else len(frames))
    finally:
        signal.alarm(0)


def _answer(stream: BinaryIO, slices: list[Slice]) -> None:
    problems = [item.problem if isinstance(item, PixelsUnavailable) else None for item in slices]
    arrays = [item for item in slices if not isinstance(item, PixelsUnavailable)]
    head = json.dumps(problems).encode()
    body = b"".join(np.ascontiguousarray(array, dtype="<f4").tobytes() for array in arrays)
    stream.write(LENGTHS.pack(len(head), len(body)) + head + body)
    stream.flush()


if __name__ == "__main__":
    main()
