"""The worker's loop beside doing one thing after the other: ``make bench-worker``.

The same series, the same stores, the same encoders; only what overlaps differs. Stores are in
memory, and where a distant account is meant every call to them waits as long as such an account
takes: that is the one thing that is made up, beside the GPU, which is a pause per call and per
series, since no such machine is at hand. Everything else is the real thing.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import machine  # noqa: E402
from benchmarks.made_up_series import series as made_up_series  # noqa: E402
from benchmarks.pages import listed  # noqa: E402
from gpu_worker.halving import Halving, WorkerTextEncoder, runs_on_gpu  # noqa: E402
from gpu_worker.loop import WorkerSettings, batches  # noqa: E402
from gpu_worker.timing import STAGES  # noqa: E402
from gpu_worker.wiring import ERRANDS, SEEN_TOGETHER, n_threads  # noqa: E402
from indexer_core.adapters.decoding import DecodingChildren  # noqa: E402
from indexer_core.descriptor import ImageDescriptor  # noqa: E402
from indexer_core.pixels.stack import Decode  # noqa: E402
from indexer_core.ports import ImageEncoder, TextEncoder  # noqa: E402
from indexer_core.sources import Sources  # noqa: E402
from indexer_core.testing.faults import PassThrough, WrappedBlobs  # noqa: E402
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache  # noqa: E402
from tests.support.dicom import dicom_object  # noqa: E402
from tests.support.house import MemorySource  # noqa: E402
from tests.support.pipeline import Pipeline  # noqa: E402
from tests.support.segments import unit_vectors  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-worker.md"
N_SERIES = 64
BATCH = 16
ROUNDS = 3
SIZE = 512
READ_S, WRITE_S = 0.015, 0.025
"""What a call to a storage account in the same region takes, about."""
GPU_CALL_S, GPU_SERIES_S, GPU_TEXT_S = 0.03, 0.005, 0.0001
"""Made-up models: starting one costs as much as six series do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the loop works."""

    name: str
    threads: int
    ahead: int = 0
    together: int = 1
    errands: bool = False


_CORES = os.cpu_count() or 1
ONE_BY_ONE = Way(name="one after the other", threads=1)
BEFORE = Way(name="threads within a batch", threads=min(_CORES, 4))
NOW = Way(name="overlapped", threads=n_threads(), ahead=1, together=SEEN_TOGETHER, errands=True)
WAYS = (ONE_BY_ONE, BEFORE, NOW)


AT_HAND = "stores at hand, descriptor and MiniLM"
FAR = "a distant account, descriptor and MiniLM"
GPU = "a distant account, models on a GPU"


class Distant(PassThrough):
    """Every call waits, as for an account elsewhere."""

    def __init__(self, read_s: float = READ_S, write_s: float = WRITE_S) -> None:
        self._read_s, self._write_s = read_s, write_s

    def read(self, operation: str, call: Callable[[], Any]) -> Any:
        del operation
        time.sleep(self._read_s)
        return call()

    def write(self, operation: str, call: Callable[[], Any]) -> Any:
        del operation
        time.sleep(self._write_s)
        return call()


class GpuEye:
    """In place of an image model on a GPU: takes its time, and no processor."""

    on_gpu = True
    encoder_id = ImageDescriptor().encoder_id
    dimension = ImageDescriptor().dimension
    recipe = ImageDescriptor().recipe

    def encode(self, stacks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        time.sleep(GPU_CALL_S + len(stacks) * GPU_SERIES_S)
        vectors = np.stack([stack.reshape(-1)[: self.dimension] + 0.01 for stack in stacks])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class GpuTexts:
    """In place of a text model on a GPU, with the name of another encoder."""

    on_gpu = True

    def __init__(self, instead_of: TextEncoder) -> None:
        self.encoder_id, self.dimension = instead_of.encoder_id, instead_of.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(GPU_CALL_S + len(texts) * GPU_TEXT_S)
        return np.concatenate([unit_vectors(text, 1, self.dimension) for text in texts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where the loop works, and with what."""

    name: str
    around: PassThrough
    eye: ImageEncoder
    texts: TextEncoder


def scenes(texts: TextEncoder, distant: Distant | None = None) -> tuple[Scene, ...]:
    """`texts`: the text encoder of the scenes without a GPU."""
    far, eye = distant or Distant(), ImageDescriptor()
    return (
        Scene(name=AT_HAND, around=PassThrough(), eye=eye, texts=texts),
        Scene(name=FAR, around=far, eye=eye, texts=texts),
        Scene(name=GPU, around=far, eye=GpuEye(), texts=GpuTexts(texts)),
    )


def waiting_house(texts: TextEncoder, n_series: int, size: int = SIZE) -> Pipeline:
    """Series of three slices that were assembled and wait for the worker."""
    house = Pipeline()
    house.text_encoder = texts
    random = np.random.default_rng(0)
    for number, facts in enumerate(made_up_series(n_series)):
        base = random.integers(0, 2000, (size, size), dtype=np.uint16)
        words = {
            keyword: _code(values[0][0]) if keyword == "BodyPartExamined" else values[0][0]
            for keyword, values in facts.attributes.items()
            if keyword not in ("AgeYears", "Modality")
        }
        for instance in range(3):
            data = dicom_object(
                series=str(number),
                instance=instance + 1,
                Rows=size,
                Columns=size,
                PixelData=(base + instance).tobytes(),
                **words,
            )
            house.upload(f"{number}/{instance}.dcm", data)
    process = house.process()
    process.events()
    house.clock.advance(700.0)
    process.checks()
    process.opened()
    return house


def _code(value: object) -> str:
    """As a code string must be (PS3.5 6.2)."""
    return str(value).replace("/", " ")[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one run: seconds on the clock, seconds by stage, and what it wrote."""

    elapsed_s: float
    seconds: Mapping[str, float]
    gpu_s: float
    n_indexed: int
    contents: Mapping[str, Any]


def run_once(house: Pipeline, way: Way, scene: Scene, decode: Decode, batch: int) -> Measured:
    """Index what waits, in a copy of the house."""
    house = house.copy()
    cache = TextVectorCache(
        WrappedBlobs(house.index, scene.around),
        house.ids,
        encoder_id=scene.texts.encoder_id,
        dimension=scene.texts.dimension,
    )
    house.text_encoder = CachedTextEncoder(WorkerTextEncoder(scene.texts), cache)
    house.image_encoder = scene.eye
    with ThreadPoolExecutor(way.threads) as threads, ThreadPoolExecutor(ERRANDS) as errands:
        worker = house.process(scene.around).worker(
            sources=Sources([MemorySource(WrappedBlobs(house.inbox, scene.around))]),
            threads=threads,
            errands=errands if way.errands else None,
            decode=decode,
            settings=WorkerSettings(batch=batch, ahead=way.ahead),
            together=Halving(way.together if runs_on_gpu(scene.eye) else 1),
        )
        started_s = time.perf_counter()
        reports = list(batches(worker))
        elapsed_s = time.perf_counter() - started_s
    return Measured(
        elapsed_s=elapsed_s,
        seconds={name: sum(r.seconds[name] for r in reports) for name in STAGES},
        gpu_s=sum(report.gpu_s for report in reports),
        n_indexed=sum(report.count("indexed") for report in reports),
        contents=house.contents(),
    )


Found = Mapping[str, Mapping[str, Sequence[Measured]]]
"""Runs by scene, then by way."""


def measure(
    house: Pipeline, among: Sequence[Scene], *, batch: int = BATCH, rounds: int = ROUNDS
) -> Found:
    """Ways take turns within a round, so that other work on the machine meets all of them."""
    found: dict[str, dict[str, list[Measured]]] = {}
    with DecodingChildren() as decode:
        for scene in among:
            runs = found.setdefault(scene.name, {way.name: [] for way in WAYS})
            for _ in range(rounds):
                for way in WAYS:
                    runs[way.name].append(run_once(house, way, scene, decode, batch))
    return found


def times_faster(runs: Mapping[str, Sequence[Measured]], than: Way) -> float:
    """The median over rounds of how much faster the loop is now."""
    pairs = zip(runs[than.name], runs[NOW.name], strict=True)
    return statistics.median(other.elapsed_s / now.elapsed_s for other, now in pairs)


def middle(runs: Sequence[Measured]) -> Measured:
    """The run of median length."""
    return sorted(runs, key=lambda run: run.elapsed_s)[len(runs) // 2]


def verdicts(found: Found) -> list[tuple[str, float, float]]:
    """What is compared, how many times faster it is now, and the bar."""
    return [
        (f"{FAR}: against one after the other", times_faster(found[FAR], ONE_BY_ONE), 2.0),
        (f"{FAR}: against threads within a batch", times_faster(found[FAR], BEFORE), 1.2),
        (f"{GPU}: against threads within a batch", times_faster(found[GPU], BEFORE), 1.5),
        (f"{AT_HAND}: against threads within a batch", times_faster(found[AT_HAND], BEFORE), 1.0),
    ]


def page(found: Found, told: Mapping[str, str]) -> str:
    """docs/benchmarks-worker.md."""
    bars = "\n".join(
        f"| {what} | {times:.2f}x | >= {bar:g}x | {'met' if times >= bar else '**missed**'} |"
        for what, times, bar in verdicts(found)
    )
    rows = "\n".join(
        f"| {scene} | {way} | {_per_series(middle(runs))} |"
        for scene, ways in found.items()
        for way, runs in ways.items()
    )
    n_series = middle(found[FAR][NOW.name]).n_indexed
    n_rounds = len(found[FAR][NOW.name])
    return f"""# The worker: what overlaps

Written by `make bench-worker` (`benchmarks/worker.py`); do not edit. How it works:
[ADR 0026](adr/0026-batches-in-hand.md).

| what | times faster | bar | |
| --- | --- | --- | --- |
{bars}

Milliseconds per series. Stages are summed over threads: where they overlap they add up to more than
the clock.

| | | clock | {" | ".join(STAGES)} | GPU |
| --- | --- | ---: | {" | ".join(["---:"] * len(STAGES))} | ---: |
{rows}

{listed(told)}

How to read this:
- {n_series} generated series of three slices of {SIZE} x {SIZE}, in batches of {BATCH}; medians of
  {n_rounds} rounds in which the ways took turns. Decoding in child processes, the descriptor,
  MiniLM, rules, segments and manifests are the real ones.
- **Made up:** the distant account is a store in memory of which every call waits
  {1000 * READ_S:.0f} ms (reads) or {1000 * WRITE_S:.0f} ms (writes), about as one in the same
  region does. The GPU is a pause: {1000 * GPU_CALL_S:.0f} ms a call,
  {1000 * GPU_SERIES_S:.0f} ms a series, {1000 * GPU_TEXT_S:.1f} ms a text. None was at hand.
- *{ONE_BY_ONE.name}*: a series at a time. *{BEFORE.name}*: {BEFORE.threads} threads fetch,
  decode and see, then the batch is committed; what the worker did before. *{NOW.name}*:
  {NOW.threads} threads, the next batch ahead, pictures seen together where a model gains by it,
  acknowledgements at once.
- On {_CORES} cores what computes competes with what computes: only waiting can be saved.
"""


def _per_series(run: Measured) -> str:
    shares = [run.elapsed_s, *(run.seconds[name] for name in STAGES), run.gpu_s]
    return " | ".join(f"{1000 * seconds / run.n_indexed:.1f}" for seconds in shares)


def main() -> None:
    from gpu_worker.encoders.export import export_text_encoder
    from indexer_core.adapters.onnx_text import OnnxTextEncoder

    logging.basicConfig(level=logging.WARNING)
    before = machine.load()
    with tempfile.TemporaryDirectory() as folder:
        export_text_encoder(Path(folder) / "text")
        texts = OnnxTextEncoder.load(Path(folder) / "text")
        found = measure(waiting_house(texts, N_SERIES), scenes(texts))
    load = f"{before} when it began, {machine.load()} when it ended"
    PAGE.write_text(page(found, {**machine.describe(), "Load average": load}), encoding="utf-8")
    for what, times, bar in verdicts(found):
        print(f"{what}: {times:.2f}x (bar: >= {bar:g}x)")


if __name__ == "__main__":
    main()
