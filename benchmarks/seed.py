"""An archive from files to index, beside the reference batch pipeline: ``make bench-seed``.

Generated files go the whole way, as `dicom-indexer index` takes them: headers, series, pixels, the
image descriptor, rules and templates, text vectors by a text tower of BiomedCLIP's true size,
segments and commits, merges.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import machine, seed_files, true_clip  # noqa: E402
from benchmarks.pages import Line, listed, table  # noqa: E402
from gpu_worker.encoders.biomedclip import load_biomedclip  # noqa: E402
from gpu_worker.encoders.torch_image import TorchImageEncoder  # noqa: E402
from indexer_core.adapters.onnx_text import OnnxTextEncoder  # noqa: E402
from indexer_core.pixels.recipe import PixelRecipe  # noqa: E402
from indexer_core.ports import ImageEncoder, TextEncoder  # noqa: E402
from local_host.file_events import walk_events  # noqa: E402
from local_host.runner import Runner, Tally  # noqa: E402
from local_host.settings import read_settings  # noqa: E402
from local_host.wiring import LocalSystem  # noqa: E402

if TYPE_CHECKING:
    from gpu_worker.worker import BatchReport

PAGE = ROOT / "docs" / "benchmarks-seed.md"
WORK = ROOT / ".bench" / "seed"
N_SERIES = 4500
BAR_S, DISTINCT_BAR = 0.4, 0.6
# The batch pipeline that this replaces, as measured by its owners: series, minutes.
REFERENCE = {
    "4,500 series, CPU": (4_500, 200.0),
    "4,500 series, GPU": (4_500, 30.0),
    "120,000 series, CPU": (120_000, 108 * 60.0),
    "120,000 series, GPU": (120_000, 15 * 60.0),
}
_N_IMAGES = 6
_TELL_EVERY_S = 30.0
_STAGES = {
    "listing": "walking the folder, an event for every file",
    "headers": "reading headers, a row for every file",
    "series": "closing series",
    "indexing": "pixels, texts, vectors, commits, merges",
    "ending": "what is left of merging",
}
# Of the worker (gpu_worker/timing.py), in the order in which a series meets them.
_INNER = {
    "take": "taking messages",
    "fetch": "fetching files",
    "decode": "decoding and windows, in child processes",
    "see": "image descriptor",
    "describe": "rules and templates",
    "texts": "text tower",
    "write": "segment and commit",
    "settle": "announcing and acknowledging",
}


class Stages:
    """`local_host.runner.Progress`: whatever passes until a stage advances is that stage's."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._since = self._told = time.perf_counter()

    def advance(self, stage: str, n_done: int, n_total: int) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self._since
        self._since = now
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            tell(f"{stage}: {n_done:,} of {n_total:,}")


class CountedTexts:
    """`TextEncoder` that is counted; it lies below the cache, so it meets new texts only."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder_id = encoder.encoder_id
        self.dimension = encoder.dimension
        self.n_texts = 0
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.n_texts += len(texts)
        return self._encoder.encode(texts)


class SeedSystem(LocalSystem):
    """The one-machine program with a text encoder of our choice."""

    def __init__(self, data: Path, texts: TextEncoder) -> None:
        environment = {"DICOM_INDEXER_PATIENT_KEY_FILE": str(data / "patient.key")}
        super().__init__(read_settings(str(data), environment))
        self.texts = CountedTexts(texts)

    @cached_property
    def encoder(self) -> TextEncoder:
        return self.texts


class SeedRunner(Runner):
    """Keeps what the worker tells of its stages."""

    def __init__(self, system: LocalSystem, stages: Stages) -> None:
        super().__init__(system, stages)
        self.busy: Counter[str] = Counter()

    def _batches(self, *, once: bool) -> Generator["BatchReport", None, None]:
        with closing(super()._batches(once=once)) as reports:
            for report in reports:
                self.busy.update(report.seconds)
                yield report


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run through the whole path took, and what it made."""

    tally: Tally
    wall_s: float
    stages: Counter[str]
    busy: Counter[str]
    n_embedded: int
    texts: list[str]


def index(files: Path, data: Path, encoder: TextEncoder) -> Run:
    """Index a folder into a fresh data directory."""
    data.mkdir(parents=True)
    system = SeedSystem(data, encoder)
    try:
        system.source.add([files])
        stages = Stages()
        runner = SeedRunner(system, stages)
        runner.emit(walk_events([files], [], system.clock))
        stages.advance("listing", 1, 1)
        tally = runner.run_until_idle()
        stages.advance("ending", 1, 1)
        return Run(
            tally=tally,
            wall_s=stages.seconds.total(),
            stages=stages.seconds,
            busy=runner.busy,
            n_embedded=system.texts.n_texts,
            texts=texts_in(system),
        )
    finally:
        system.close()


def texts_in(system: LocalSystem) -> list[str]:
    """All texts of the index."""
    reader = system.reader()
    rows = (reader.row(place) for _, place in reader.winners() if place.alive)
    return [text for row in rows if row.record is not None for text in row.record["texts"]]


def measure(
    n_series: int, work: Path, encoder: TextEncoder, image_encoder: ImageEncoder
) -> dict[str, Any]:
    """All figures; the files and the index are removed again."""
    before = machine.load()
    shutil.rmtree(work, ignore_errors=True)
    try:
        files = work / "files"
        n_files = seed_files.write_series(files, n_series, told(n_series))
        run = index(files, work / "data", encoder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    load = f"{before} when it began, {machine.load()} when it ended"
    return {
        "series": n_series,
        "files": n_files,
        "counts": run.tally.counts(),
        "wall_s": run.wall_s,
        "stages": dict(run.stages),
        "busy": dict(run.busy),
        "texts": len(run.texts),
        "distinct": len(set(run.texts)),
        "embedded": run.n_embedded,
        "image_s": image_cost(image_encoder),
        "machine": {**machine.describe(), "Load average": load},
    }


def image_cost(encoder: ImageEncoder) -> float:
    """Seconds of a series of three slices in the image tower on this processor."""
    random = np.random.default_rng(0)
    stacks = [random.random((3, 256, 256), dtype=np.float32) for _ in range(_N_IMAGES // 3)]
    encoder.encode(stacks[:1])
    start = time.perf_counter()
    encoder.encode(stacks)
    return (time.perf_counter() - start) / len(stacks)


class told:  # noqa: N801 - reads as a function: told(4500) tells of every five hundredth
    """Tells how many files are written."""

    def __init__(self, n_series: int) -> None:
        self._n_series = n_series

    def __call__(self, n_done: int) -> None:
        if n_done % 500 == 0 or n_done == self._n_series:
            tell(f"files of {n_done:,} of {self._n_series:,} series written")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def lines(found: dict[str, Any]) -> list[Line]:
    """The rows of the page with a bar."""
    per_series = found["wall_s"] / found["series"]
    share = found["distinct"] / found["texts"]
    indexed = found["counts"]["series"]
    return [
        Line(
            what=f"{found['files']:,} files, {found['series']:,} series, from files to index",
            measured=f"{found['wall_s'] / 60:.1f} min: {per_series:.3f} s a series",
            bar=f"<= {BAR_S} s a series on 2 cores",
            met=per_series <= BAR_S,
        ),
        Line(
            what="series in the index, failed",
            measured=f"{indexed['indexed']:,}, {indexed['failed']:,}",
            bar="all, none",
            met=indexed["indexed"] == found["series"] and not indexed["failed"],
        ),
        Line(
            what="distinct texts, of all",
            measured=f"{found['distinct']:,} of {found['texts']:,}: {share:.0%}",
            bar=f">= {DISTINCT_BAR:.0%}",
            met=share >= DISTINCT_BAR,
        ),
        Line(
            what="texts embedded",
            measured=f"{found['embedded']:,}",
            bar="each distinct one once",
            met=found["embedded"] == found["distinct"],
        ),
        Line(
            what="a distinct text, embedded",
            measured=f"{found['busy']['texts'] / found['embedded']:.4f} s",
        ),
    ]


def page(found: dict[str, Any]) -> str:
    """docs/benchmarks-seed.md."""
    return f"""# An archive, from files to index

Written by `make bench-seed` (`benchmarks/seed.py`); do not edit.

{table(lines(found))}

## Where the time goes

| stage | seconds a series | |
| --- | --- | --- |
{_stages(found)}

## Beside the reference batch pipeline

| what | series | minutes | seconds a series |
| --- | --- | --- | --- |
{_beside(found)}

**The reference's figures include MedImageInsight**, an image model of 0.36 billion parameters that
runs on every series; ours do not: the image vectors here are those of the
[image descriptor](adr/0007-pixels-and-image-descriptor.md). What an image model adds is stated
apart: BiomedCLIP's image tower, at its true size, takes {found["image_s"]:.2f} s for the three
slices of a series on this processor, {(found["wall_s"] / found["series"] + found["image_s"]):.2f} s
a series in all; on a GPU about a thousandth of that ([benchmarks-gpu](benchmarks-gpu.md)).

{listed(found["machine"])}

How to read this:
- The files are generated (`benchmarks/seed_files.py`): {seed_files.FILES_PER_SERIES:.1f} a series
  on average, {_kinds()}. Writing them is not counted. They had been written just before, so
  reading them met the page cache rather than a disk.
- Their texts hardly repeat: all body parts, sequences, makers and thicknesses are equally likely.
  Real archives repeat most of theirs, and each distinct text is embedded once.
- The text encoder has BiomedCLIP's true size and weights that nobody trained: time does not depend
  on what was learned. Single precision, on the CPU.
- Stages are wall time, and add up. What is indented is what the worker tells of its own stages:
  they go side by side on threads and in child processes, and all of them count.
"""


def _stages(found: dict[str, Any]) -> str:
    def row(name: str, seconds: float, note: str = "") -> str:
        return f"| {name} | {seconds / found['series']:.4f} | {note} |"

    rows = [
        row(title, found["stages"].get(name, 0.0), _share(found, name))
        for name, title in _STAGES.items()
    ]
    at = list(_STAGES).index("indexing") + 1
    rows[at:at] = [
        row(f"&nbsp;&nbsp;{title}", found["busy"].get(name, 0.0), "side by side")
        for name, title in _INNER.items()
    ]
    rows.append(row("**all**", found["wall_s"]))
    return "\n".join(rows)


def _share(found: dict[str, Any], name: str) -> str:
    share = f"{found['stages'].get(name, 0.0) / found['wall_s']:.0%}"
    if name == "headers":
        return f"{share}; {found['stages'].get(name, 0.0) / found['files'] * 1e3:.2f} ms a file"
    return share


def _beside(found: dict[str, Any]) -> str:
    rows = [
        f"| reference, {name} | {n:,} | {minutes:,.0f} | {minutes * 60 / n:.2f} |"
        for name, (n, minutes) in REFERENCE.items()
    ]
    minutes = found["wall_s"] / 60
    per_series = found["wall_s"] / found["series"]
    rows.append(f"| ours, 2 cores | {found['series']:,} | {minutes:,.1f} | {per_series:.3f} |")
    return "\n".join(rows)


def _kinds() -> str:
    return ", ".join(
        f"{kind.modality} {kind.share:.0%} ({kind.files} of {kind.rows} x {kind.columns})"
        for kind in seed_files.KINDS
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=N_SERIES, help=f"default {N_SERIES}")
    parser.add_argument("--work", type=Path, default=WORK, help="3.3 GB for 1,000 series")
    options = parser.parse_args()
    tell("the model, and its export ...")
    model = load_biomedclip(true_clip.weights())
    image = TorchImageEncoder(model.image, recipe=PixelRecipe())
    encoder = OnnxTextEncoder.load(true_clip.exported(model.text))
    found = measure(options.series, options.work, encoder, image)
    print(json.dumps(found, indent=2))
    if options.series == N_SERIES:
        PAGE.write_text(page(found), encoding="utf-8")
    else:
        print(page(found))


if __name__ == "__main__":
    main()
