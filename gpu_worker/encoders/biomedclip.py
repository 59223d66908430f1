"""BiomedCLIP out of a folder, through open_clip: its text tower, its image tower, its scale.

The folder is what the model's hub repository holds: ``open_clip_config.json``, the weights,
``tokenizer.json``. Three traps of loading it are avoided here:

- The text tower asks a **second** repository for its BERT configuration. The folder may hold it as
  ``text_config.json``; for the BERT that BiomedCLIP is built on it is known (the standard base
  size), and strictly loaded weights prove it.
- Without a weights file open_clip only warns, and goes on with random numbers. Here that is an
  error, and so are weights that were never trained, whatever file they come from.
- Loading needs torchvision (see `torchvision_workaround`).

Model: Zhang et al., A Multimodal Biomedical Foundation Model Trained from Fifteen Million
Image-Text Pairs, NEJM AI 2024. Loading code and weights are MIT.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpu_worker.encoders.first_token import FirstTokenBert, is_plain_bert
from gpu_worker.encoders.minilm import TextTower
from gpu_worker.encoders.torchvision_workaround import mend_torchvision
from indexer_core.errors import InvalidInputError

HUB_NAME = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
CONFIG = "open_clip_config.json"
TEXT_CONFIG = "text_config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
# Repositories whose BERT has the standard base configuration (30522 tokens, 12 layers of 768).
_BASE_BERTS = (
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
)
_HUB = "hf-hub:"
_LOCAL = "local-dir:"
_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTower:
    """An image model ready to be run.

    Parameters
    ----------
    module
        In evaluation mode; maps float32 (n, 3, rows, columns) to float32 (n, dimension), rows
        L2-normalised.
    rows, columns
        Size of its input in pixels.
    mean, std
        Per channel, for values in [0, 1].
    """

    encoder_id: str
    dimension: int
    module: nn.Module
    rows: int
    columns: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BiomedClip:
    """Both towers, and what multiplies a cosine before the softmax (already exponentiated)."""

    text: TextTower
    image: ImageTower
    scale: float


class NormalisedText(nn.Module):  # type: ignore[misc] # torch is not followed
    """open_clip's BERT tower with an explicit mask, then L2 normalisation.

    open_clip derives the mask from the padding token; with the mask as an input the model exports
    to ONNX, and texts of one length need no padding at all.
    """

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        reads_first = type(tower.pooler).__name__ == "ClsLastHiddenStatePooler"
        is_usual = reads_first and is_plain_bert(tower.transformer)
        self.first_token = FirstTokenBert(tower.transformer) if is_usual else None

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, int64 (n, length), to float32 (n, dimension)."""
        tower = self.tower
        if self.first_token is not None:
            pooled = self.first_token(input_ids, attention_mask)
        else:
            out = tower.transformer(input_ids=input_ids, attention_mask=attention_mask)
            pooled = tower.pooler(out, attention_mask)
        return nn.functional.normalize(tower.proj(pooled), p=2.0, dim=1)


class NormalisedImage(nn.Module):  # type: ignore[misc] # torch is not followed
    """open_clip's image tower, then L2 normalisation."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 (n, 3, rows, columns) to float32 (n, dimension)."""
        return nn.functional.normalize(self.tower(images).float(), p=2.0, dim=1)


def locate_biomedclip(source: str) -> Path:
    """The folder that a source names, downloaded where it is a hub's.

    Parameters
    ----------
    source
        A folder, ``local-dir:FOLDER``, or ``hf-hub:OWNER/NAME`` (``hf-hub:`` alone means
        BiomedCLIP's own repository), with ``@REVISION`` to pin one.

    Raises
    ------
    InvalidInputError
        There is no such folder, or the hub cannot be reached.
    """
    if not source.startswith(_HUB):
        folder = Path(source.removeprefix(_LOCAL))
        if not folder.is_dir():
            raise InvalidInputError(
                f"there is no folder {folder}: give the folder that holds {CONFIG}, the weights "
                f"and {TOKENIZER}, or {_HUB}{HUB_NAME}"
            )
        return folder
    name, _, revision = (source.removeprefix(_HUB) or HUB_NAME).partition("@")
    return _downloaded(name, revision or None)


def load_biomedclip(folder: Path, *, untrained_allowed: bool = False) -> BiomedClip:
    """Both towers on the CPU, in evaluation mode.

    Parameters
    ----------
    untrained_allowed
        Take random weights all the same. For tests: an index of them is noise that looks like an
        index.

    Raises
    ------
    InvalidInputError
        A file is missing or cannot be used, or the weights were never trained.
    """
    config = _config(folder)
    weights, digest = _digested(folder)
    with _overlay(folder, weights, config) as whole:
        model = _created(whole)
    if not untrained_allowed and is_untrained(model):
        raise InvalidInputError(
            f"the weights in {weights.name} are random, not trained: nothing sensible could be "
            "found with them; get the real ones"
        )
    # The fused kinds of attention do not export to ONNX.
    model.text.transformer.set_attn_implementation("eager")
    shape = model.visual.preprocess_cfg
    rows, columns = _pair(shape["size"])
    dimension = int(config["model_cfg"]["embed_dim"])
    return BiomedClip(
        text=TextTower(
            encoder_id=_text_id(digest, config),
            dimension=dimension,
            max_tokens=_context(config),
            module=NormalisedText(model.text).eval(),
            tokenizer_json=_read(folder / TOKENIZER),
            source_sha256=digest,
        ),
        image=ImageTower(
            encoder_id=f"{_image_prefix(digest)}{rows}x{columns}-l2",
            dimension=dimension,
            module=NormalisedImage(model.visual).eval(),
            rows=rows,
            columns=columns,
            mean=_triple(shape["mean"]),
            std=_triple(shape["std"]),
        ),
        scale=math.exp(model.logit_scale.detach().item()),
    )


def encoder_ids(folder: Path) -> tuple[str, str]:
    """The id of a folder's text tower, and how that of its image tower begins; loads nothing.

    Raises
    ------
    InvalidInputError
        A file is missing or cannot be used.
    """
    config = _config(folder)
    _, digest = _digested(folder)
    return _text_id(digest, config), _image_prefix(digest)


def _image_prefix(digest: str) -> str:
    return f"biomedclip-image/{digest[:12]}/"


def _text_id(digest: str, config: dict[str, Any]) -> str:
    return f"biomedclip/{digest[:12]}/tokens{_context(config)}-cls-l2"


def is_untrained(model: nn.Module) -> bool:
    """Whether a tower of the model was never trained.

    Every layer normalisation begins with weights of exactly one and biases of exactly zero, and
    the first step of any training moves them. A tower in which all of them stand there is random,
    even when it came out of a file.
    """
    towers = [getattr(model, name) for name in ("text", "visual")]
    return any(_is_at_its_beginning(tower) for tower in towers)


def _is_at_its_beginning(tower: nn.Module) -> bool:
    norms = [module for module in tower.modules() if isinstance(module, nn.LayerNorm)]
    return all(bool((norm.weight == 1).all()) and bool((norm.bias == 0).all()) for norm in norms)


def _downloaded(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InvalidInputError("downloading needs huggingface_hub; or give a folder") from error
    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=[CONFIG, TEXT_CONFIG, TOKENIZER, *WEIGHTS]
        )
    except Exception as error:
        raise InvalidInputError(
            f"{name} cannot be downloaded from the hub ({type(error).__name__}): copy its files "
            "to a folder and give that folder"
        ) from error
    return Path(folder)


def _weights_file(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise InvalidInputError(
        f"{folder} holds no weights ({', '.join(WEIGHTS)}): without them the model would be random"
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(_read(folder / CONFIG))
        model, text = config["model_cfg"], config["model_cfg"]["text_cfg"]
        usable = isinstance(model["embed_dim"], int) and isinstance(text["hf_model_name"], str)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{CONFIG} is not that of a CLIP model with a BERT") from error
    if not usable:
        raise InvalidInputError(f"{CONFIG} is not that of a CLIP model with a BERT")
    return config


def _context(config: dict[str, Any]) -> int:
    return int(config["model_cfg"]["text_cfg"].get("context_length", 256))


@contextmanager
def _overlay(folder: Path, weights: Path, config: dict[str, Any]) -> Iterator[Path]:
    """The folder as open_clip shall see it: one weights file, and no second repository."""
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name)
        bert = whole / "text"
        bert.mkdir()
        (bert / "config.json").write_bytes(_text_config(folder, config))
        text = {**config["model_cfg"]["text_cfg"], "hf_model_name": str(bert)}
        changed = {**config, "model_cfg": {**config["model_cfg"], "text_cfg": text}}
        (whole / CONFIG).write_text(json.dumps(changed), encoding="utf-8")
        (whole / weights.name).symlink_to(weights.resolve())
        yield whole


def _text_config(folder: Path, config: dict[str, Any]) -> bytes:
    if (folder / TEXT_CONFIG).is_file():
        return _read(folder / TEXT_CONFIG)
    wanted = config["model_cfg"]["text_cfg"]["hf_model_name"]
    if wanted not in _BASE_BERTS:
        raise InvalidInputError(
            f"the text tower is a {wanted}: put that model's config.json into the folder, "
            f"as {TEXT_CONFIG}"
        )
    from transformers import BertConfig

    text: str = BertConfig().to_json_string(use_diff=False)
    return text.encode()


def _created(whole: Path) -> Any:
    mend_torchvision()
    try:
        import open_clip
    except ImportError as error:
        raise InvalidInputError(
            "BiomedCLIP needs open_clip: pip install 'dicom-indexer[clip]'"
        ) from error
    try:
        # Weights only: the file may be a pickle, and nothing of it is to be run.
        return open_clip.create_model(
            f"{_LOCAL}{whole}", require_pretrained=True, pretrained_text=False, weights_only=True
        ).eval()
    except Exception as error:
        raise InvalidInputError(
            f"the weights do not fit the model of {CONFIG} ({type(error).__name__}): "
            "take all files from one version of the model"
        ) from error


def _digested(folder: Path) -> tuple[Path, str]:
    """The file with the weights, and its sha256."""
    path = _weights_file(folder)
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return path, digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path.name} of the text encoder cannot be read") from error


def _pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _triple(values: tuple[float, ...] | list[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
