"""Text encoding of BiomedCLIP's architecture: ``make bench-encoding``.

Three questions. How near does it come to what the processor can do: a plain matrix product,
measured in turns with it, FLOPs counted on tokens that are no padding. How much faster is it than
open_clip's own way, which pads every text to 256 tokens. And what do texts cost that were embedded
before.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import machine, true_clip  # noqa: E402
from benchmarks.made_up_series import texts_of  # noqa: E402
from benchmarks.pages import Line, listed, table, tell  # noqa: E402
from gpu_worker.encoders.minilm import TextTower  # noqa: E402
from indexer_core.adapters.onnx_text import OnnxTextEncoder  # noqa: E402
from indexer_core.adapters.system import RandomIds, SystemClock  # noqa: E402
from indexer_core.ports import TextEncoder  # noqa: E402
from indexer_core.testing.memory import MemoryBlobs  # noqa: E402
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-encoding.md"
OF_THE_BOUND, OF_THE_SAVING, AGREEMENT = 0.9, 0.8, 0.9999
ROUNDS = 5
N_TEXTS, N_PADDED, N_BATCH = 768, 16, 96
N_SERIES = 20_000
WORKER_BATCH = 32 * 5
_PRODUCT = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured. n_batch: texts of one call of a worker that brings 32 series."""

    rounds: int = ROUNDS
    n_texts: int = N_TEXTS
    n_padded: int = N_PADDED
    n_batch: int = N_BATCH
    part: int = 128
    n_series: int = N_SERIES
    product: int = _PRODUCT


def measure(tower: TextTower, encoder: OnnxTextEncoder, sizes: Sizes) -> dict[str, Any]:
    """All figures."""
    before = machine.load()
    every = [text for series in texts_of(sizes.n_series) for text in series]
    texts = sample(sorted(set(every)), sizes.n_texts)
    tokens = token_ids(tower, texts)
    found = {
        "texts": len(texts),
        "mean_tokens": statistics.mean(map(len, tokens)),
        "longest": max(map(len, tokens)),
        **speeds(tower, encoder, texts, tokens, sizes),
        **agreement(tower, encoder, texts[: sizes.n_padded], tokens[: sizes.n_padded]),
        "repeats": repeats(every),
    }
    load = f"{before} when it began, {machine.load()} when it ended"
    return {**found, "machine": {**machine.describe(), "Load average": load}}


def sample(texts: Sequence[str], n: int) -> list[str]:
    """`n` of the texts, the same ones every time."""
    chosen = np.random.default_rng(0).permutation(len(texts))[:n]
    return [texts[row] for row in chosen]


def token_ids(tower: TextTower, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of every text, without padding."""
    tokenizer = Tokenizer.from_str(tower.tokenizer_json.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=tower.max_tokens)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def flops_of(tower: TextTower, tokens: Sequence[Sequence[int]]) -> float:
    """What open_clip's tower multiplies and adds for these texts, each alone, without padding.

    torch itself counts the operations of its matrix products; what is no product is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    total = 0.0
    for length, n in Counter(map(len, tokens)).items():
        ids = torch.ones((1, length), dtype=torch.long)
        with torch.inference_mode(), FlopCounterMode(display=False) as counted:
            tower.module.tower(ids)
        total += n * counted.get_total_flops()
    return total


def speeds(
    tower: TextTower,
    encoder: OnnxTextEncoder,
    texts: Sequence[str],
    tokens: Sequence[list[int]],
    sizes: Sizes,
) -> dict[str, Any]:
    """Rates on one core; in every round all sides take turns, so that all meet the same."""
    parts = in_parts(texts, tokens, sizes.part)
    flops = flops_of(tower, tokens)
    few, few_flops = texts[: sizes.n_batch], flops_of(tower, tokens[: sizes.n_batch])
    padded = pad(tokens[: sizes.n_padded], tower.max_tokens)
    as_in_open_clip(tower)
    torch.set_num_threads(1)
    timed_product(sizes.product)
    encoder.encode(few)
    rounds = []
    for _ in range(sizes.rounds):
        watch: Counter[str] = Counter()
        for part in parts:
            watch["product"] += timed_product(sizes.product)
            watch["ours"] += timed(partial(encoder.encode, part))
        watch["few"] += timed(partial(encoder.encode, few))
        for four in padded.split(4):
            watch["theirs"] += timed(partial(run_padded, tower, four))
        watch["product"] += timed_product(sizes.product)
        rounds.append(
            rates(
                watch,
                product=2.0 * sizes.product**3 * (len(parts) + 1),
                ours=flops,
                few=few_flops,
                n_texts=len(texts),
                n_padded=len(padded),
            )
        )
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def in_parts(texts: Sequence[str], tokens: Sequence[list[int]], size: int) -> list[list[str]]:
    """The texts, those of about the same length together, as they are batched anyway."""
    order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
    return [[texts[row] for row in order[at : at + size]] for at in range(0, len(order), size)]


def rates(
    watch: Mapping[str, float],
    *,
    product: float,
    ours: float,
    few: float,
    n_texts: int,
    n_padded: int,
) -> dict[str, float]:
    """Of one round: seconds, and the FLOPs done in them, to what the page tells."""
    peak = product / watch["product"] / 1e9
    return {
        "peak": peak,
        "gflops": ours / watch["ours"] / 1e9,
        "share": ours / watch["ours"] / 1e9 / peak,
        "few_share": few / watch["few"] / 1e9 / peak,
        "texts_per_s": n_texts / watch["ours"],
        "theirs_per_s": n_padded / watch["theirs"],
        "times": watch["theirs"] / n_padded / (watch["ours"] / n_texts),
    }


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of one run: what else the machine does meanwhile is not counted."""
    start = time.process_time()
    work()
    return time.process_time() - start


def timed_product(size: int) -> float:
    """The same of a plain matrix product in single precision."""
    a, b = (torch.rand(size, size) for _ in range(2))
    return timed(lambda: torch.mm(a, b))


def as_in_open_clip(tower: TextTower) -> None:
    """The attention that open_clip runs; ours is the plain kind, since that one exports."""
    tower.module.tower.transformer.set_attn_implementation("sdpa")


def pad(tokens: Sequence[list[int]], length: int) -> torch.Tensor:
    """Token ids as open_clip's tokenizer gives them."""
    padded = np.zeros((len(tokens), length), dtype=np.int64)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
    return torch.from_numpy(padded)


def run_padded(tower: TextTower, padded: torch.Tensor) -> NDArray[np.float32]:
    """open_clip's `encode_text`, which finds out by itself what is padding; normalised."""
    with torch.inference_mode():
        found = torch.nn.functional.normalize(tower.module.tower(padded), dim=1)
    vectors: NDArray[np.float32] = found.numpy()
    return vectors


def agreement(
    tower: TextTower, encoder: OnnxTextEncoder, texts: Sequence[str], tokens: Sequence[list[int]]
) -> dict[str, float]:
    """The smallest cosine between ours and open_clip's vector of a text.

    Vectors of weights that nobody trained lie close together, which would make any cosine look
    good: so they are compared with their mean taken away, too.
    """
    ours = encoder.encode(texts)
    theirs = run_padded(tower, pad(tokens, tower.max_tokens))
    centre = theirs.mean(axis=0)
    return {
        "cosine": float(cosines(ours, theirs).min()),
        "centred_cosine": float(cosines(ours - centre, theirs - centre).min()),
    }


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Row by row."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / lengths)


class Counted:
    """`TextEncoder` that embeds nothing, and keeps count of what it was asked for."""

    encoder_id = "counted"
    dimension = 512

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.update(texts)
        return np.zeros((len(texts), self.dimension), dtype=np.float32)


def repeats(texts: Sequence[str]) -> dict[str, float]:
    """What reaches the encoder of texts that come in the batches of a worker, then once more."""
    blobs, ids = MemoryBlobs(SystemClock()), RandomIds()
    encoder = Counted()

    def run() -> tuple[int, float]:
        """Texts that were embedded, and seconds, by a process that starts with what is stored."""
        cached = over_cache(encoder, blobs, ids, len(texts))
        before = encoder.asked.total()
        start = time.perf_counter()
        for first in range(0, len(texts), WORKER_BATCH):
            cached.encode(texts[first : first + WORKER_BATCH])
        return encoder.asked.total() - before, time.perf_counter() - start

    embedded, _ = run()
    again, again_s = run()
    return {
        "texts": len(texts),
        "distinct": len(set(texts)),
        "embedded": embedded,
        "most_often": max(encoder.asked.values()),
        "embedded_again": again,
        "us_per_repeat": again_s / len(texts) * 1e6,
    }


def over_cache(
    encoder: TextEncoder, blobs: MemoryBlobs, ids: RandomIds, most: int
) -> CachedTextEncoder:
    cache = TextVectorCache(
        blobs,
        ids,
        encoder_id=encoder.encoder_id,
        dimension=encoder.dimension,
        max_vectors=most,
    )
    return CachedTextEncoder(encoder, cache)


def lines(found: dict[str, Any]) -> list[Line]:
    """The rows of the page, beside the bars."""
    saving = 256 / found["mean_tokens"]
    repeated = found["repeats"]
    return [
        Line(
            what=f"{found['texts']} distinct texts of {found['mean_tokens']:.1f} tokens on average "
            f"(at most {found['longest']}), of the FLOP bound",
            measured=f"{found['share']:.2f}: {found['gflops']:.0f} of {found['peak']:.0f} GFLOP/s",
            bar=f">= {OF_THE_BOUND}",
            met=found["share"] >= OF_THE_BOUND,
        ),
        Line(
            what="the same for the texts of one batch of a worker, 32 series",
            measured=f"{found['few_share']:.2f}",
        ),
        Line(
            what="texts a second on one core, and by open_clip's padded way",
            measured=f"{found['texts_per_s']:.1f}, {found['theirs_per_s']:.2f}: "
            f"{found['times']:.1f}x as fast",
            bar=f">= {OF_THE_SAVING} x 256 / {found['mean_tokens']:.1f} tokens = "
            f"{OF_THE_SAVING * saving:.1f}",
            met=found["times"] >= OF_THE_SAVING * saving,
        ),
        Line(
            what="smallest cosine with open_clip's vector (the mean taken away: "
            f"{found['centred_cosine']:.6f})",
            measured=f"{found['cosine']:.7f}",
            bar=f">= {AGREEMENT}",
            met=min(found["cosine"], found["centred_cosine"]) >= AGREEMENT,
        ),
        Line(
            what=f"embedded of {repeated['texts']:,} texts of templates, "
            f"{repeated['distinct']:,} of them distinct",
            measured=f"{repeated['embedded']:,}; once more, by another process: "
            f"{repeated['embedded_again']:,}",
            bar="each distinct one once",
            met=repeated["embedded"] == repeated["distinct"] and not repeated["embedded_again"],
        ),
        Line(
            what="a text that was embedded before, reading the cache included",
            measured=f"{repeated['us_per_repeat']:.0f} us, "
            f"{1e6 / found['texts_per_s'] / repeated['us_per_repeat']:.0f}x less than a new one",
        ),
    ]


def page(found: dict[str, Any]) -> str:
    """docs/benchmarks-encoding.md."""
    return f"""# Text encoding

Written by `make bench-encoding` (`benchmarks/text_encoding.py`); do not edit. BiomedCLIP's true
architecture on the CPU, with weights that nobody trained: what a model costs does not depend on
what it learned.

{table(lines(found))}

{listed(found["machine"])}

How to read this:
- Medians of {ROUNDS} rounds; in every round all sides take turns. One thread, and seconds of the
  processor, so that other work on the machine counts on no side.
- The bound is torch's plain matrix product of {_PRODUCT} x {_PRODUCT} in single precision, between
  the parts of ours. FLOPs are those that torch counts in the matrix products of open_clip's tower
  for every text alone, without padding; tokenising and all else that is no product count as time,
  not as FLOPs.
- Ours computes the last layer for the first token alone, which is all that is read of it: the same
  vectors for 7 % fewer FLOPs. They are counted all the same, as the work that was asked for.
- Ours is what the worker and the search functions run: onnxruntime over the export, batches of
  texts of about one length. open_clip's way is its own text tower with its own attention, every
  text padded to 256 tokens, tokenising not counted.
- The texts come out of the rules and templates for {N_SERIES:,} made-up series.
"""


def main() -> None:
    tower = true_clip.text_tower()
    # One thread, so that seconds of the processor are those of the work.
    encoder = OnnxTextEncoder.load(true_clip.exported(tower), threads=1)
    found = measure(tower, encoder, Sizes())
    PAGE.write_text(page(found), encoding="utf-8")
    tell(lines(found))


if __name__ == "__main__":
    main()
