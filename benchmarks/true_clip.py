"""BiomedCLIP's true architecture with weights that nobody trained, kept in `.bench/`.

What a model costs does not depend on what it learned, so its time can be measured without the real
weights, which no build machine can download.
"""

import os
import shutil
from pathlib import Path

from gpu_worker.encoders.biomedclip import load_biomedclip
from gpu_worker.encoders.export import export_tower
from gpu_worker.encoders.minilm import TextTower
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from tests.support.clip_directory import make_clip_directory

KEPT = Path(__file__).parents[1] / ".bench" / "biomedclip-untrained"


def weights(kept: Path = KEPT, architecture: str = "full") -> Path:
    """The folder as the model's hub repository is one; made at first use (a minute)."""
    folder = kept / "weights"
    if not folder.exists():
        partial = kept / f"weights.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        make_clip_directory(partial, architecture).rename(folder)
    return folder


def text_tower(kept: Path = KEPT, architecture: str = "full") -> TextTower:
    """The text tower in torch."""
    return load_biomedclip(weights(kept, architecture)).text


def exported(tower: TextTower, kept: Path = KEPT) -> Path:
    """The folder with the export of the text tower, made by the code as it is now."""
    folder = kept / "export"
    shutil.rmtree(folder, ignore_errors=True)
    export_tower(tower, folder)
    return folder


def text_encoder(kept: Path = KEPT, architecture: str = "full") -> OnnxTextEncoder:
    """The encoder that the programs use, over that export."""
    return OnnxTextEncoder.load(exported(text_tower(kept, architecture), kept))
