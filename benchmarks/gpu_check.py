"""BiomedCLIP's true architecture on a CUDA device: agreement with the CPU, throughput, utilisation.

    python benchmarks/gpu_check.py [OUTPUT.json]

The weights are made here (nobody trained them): speed and rounding do not depend on them. Each
figure is the median of several runs; utilisation is the share of a plain bf16 matrix product
measured in the same run, counted on tokens that are no padding.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from gpu_worker.encoders.biomedclip import BiomedClip, load_biomedclip
from gpu_worker.encoders.torch_image import TorchImageEncoder
from gpu_worker.encoders.torch_text import TorchTextEncoder
from indexer_core.pixels.recipe import PixelRecipe

RUNS = 5
N_TEXTS = 20_000
N_PADDED = 2_048
N_STACKS = 512
WIDTH, LAYERS = 768, 12
IMAGE_TOKENS = 197
CONTEXT = 256
_WORDS = """
    axial sagittal coronal MRI CT radiograph ultrasound brain chest abdomen pelvis knee spine
    contrast without with T1 T2 FLAIR weighted diffusion DWI ADC MPRAGE gradient echo spin slice
    thickness millimetre tesla Siemens Philips GE series of the head neck heart liver localizer fat
    suppressed angiography perfusion dynamic arterial venous phase male female aged fifties
    """.split()  # noqa: SIM905 - a list literal of so many words hides them


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("this machine has no CUDA device")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.support.clip_directory import make_clip_directory

    with tempfile.TemporaryDirectory() as folder:
        directory = make_clip_directory(Path(folder) / "model", "full")
        figures = {
            "device": torch.cuda.get_device_name(0),
            "torch": torch.__version__,
            "peakTflops": peak_tflops(),
            **text_figures(directory),
            **image_figures(directory),
        }
    print(json.dumps(figures, indent=2))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def median_s(work: Callable[[], object], runs: int = RUNS) -> float:
    work()  # warms up kernels and memory
    seconds = []
    for _ in range(runs):
        torch.cuda.synchronize()
        started_s = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started_s)
    return statistics.median(seconds)


def peak_tflops(size: int = 8192) -> float:
    """What a bf16 matrix product of this size reaches here, in TFLOP/s."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return round(2 * size**3 / median_s(lambda: a @ b) / 1e12, 1)


def made_up_texts(n: int, seed: int = 0) -> list[str]:
    """Distinct texts of 6 to 24 words."""
    chance = random.Random(seed)
    texts: set[str] = set()
    while len(texts) < n:
        texts.add(" ".join(chance.choices(_WORDS, k=chance.randint(6, 24))))
    return sorted(texts)


def transformer_flops(n_tokens: float, length: float) -> float:
    """Of `n_tokens` tokens in sequences of `length`: weights, then attention."""
    return LAYERS * n_tokens * (24 * WIDTH**2 + 4 * length * WIDTH)


def text_figures(directory: Path) -> dict[str, object]:
    texts = made_up_texts(N_TEXTS)
    on_cpu = TorchTextEncoder(loaded(directory).text)
    expected = on_cpu.encode(texts[:200])
    model = loaded(directory)
    encoder = TorchTextEncoder(model.text, device="cuda")
    agreement = float((encoder.encode(texts[:200]) * expected).sum(axis=1).min())
    seconds = median_s(lambda: encoder.encode(texts))
    tokenizer = Tokenizer.from_str(model.text.tokenizer_json.decode())
    tokenizer.no_padding()
    lengths = np.array([len(e.ids) for e in tokenizer.encode_batch(texts)])
    flops = float(sum(transformer_flops(n, n) for n in lengths))
    padded_s = padded(model, tokenizer, texts[:N_PADDED])
    alone_s = median_s(lambda: encoder.encode(texts[:N_PADDED]))
    return {
        "textCosine": agreement,
        "textsPerSecond": round(len(texts) / seconds),
        "meanTokens": round(float(lengths.mean()), 1),
        "textTflops": round(flops / seconds / 1e12, 1),
        "textsPerSecondPadded": round(N_PADDED / padded_s),
        "speedUpOverPadded": round(padded_s / alone_s, 1),
    }


def padded(model: BiomedClip, tokenizer: Tokenizer, texts: list[str]) -> float:
    """Seconds of open_clip's way: every text padded to 256 tokens; tokenising included."""
    tower = model.text.module.tower

    def work() -> None:
        for start in range(0, len(texts), 256):
            part = tokenizer.encode_batch(texts[start : start + 256])
            ids = np.zeros((len(part), CONTEXT), np.int64)
            for row, encoding in enumerate(part):
                ids[row, : len(encoding.ids)] = encoding.ids
            with torch.inference_mode():
                tower(torch.from_numpy(ids).cuda()).float().cpu()

    return median_s(work)


def image_figures(directory: Path) -> dict[str, object]:
    chance = np.random.default_rng(0)
    stacks = [chance.random((3, 256, 256), dtype=np.float32) for _ in range(N_STACKS)]
    on_cpu = TorchImageEncoder(loaded(directory).image, recipe=PixelRecipe())
    on_gpu = TorchImageEncoder(loaded(directory).image, recipe=PixelRecipe(), device="cuda")
    few = stacks[:8]
    agreement = float((on_gpu.encode(few) * on_cpu.encode(few)).sum(axis=1).min())
    seconds = median_s(lambda: on_gpu.encode(stacks))
    n_images = 3 * N_STACKS
    flops = transformer_flops(n_images * IMAGE_TOKENS, IMAGE_TOKENS)
    return {
        "imageCosine": agreement,
        "imagesPerSecond": round(n_images / seconds),
        "imageTflops": round(flops / seconds / 1e12, 1),
    }


def loaded(directory: Path) -> BiomedClip:
    return load_biomedclip(directory)


if __name__ == "__main__":
    main()
