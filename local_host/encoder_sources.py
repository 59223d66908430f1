"""From what a user names to encoders that all programs of the index find."""

import argparse
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from indexer_core.errors import InvalidInputError

if TYPE_CHECKING:
    from gpu_worker.encoders.biomedclip import ImageTower
    from gpu_worker.encoders.minilm import TextTower
    from indexer_core.index.manifest import Manifest, Space
    from indexer_core.ports import ImageEncoder, TextEncoder
    from local_host.wiring import LocalSystem

T = TypeVar("T")

BIOMEDCLIP = "biomedclip"

# Five texts each; more than what an export is measured on, since some are alike.
_SAMPLED_SERIES = 1_000


def newest(system: "LocalSystem") -> "Manifest":
    """The newest manifest.

    Raises
    ------
    NotFoundError
        Nothing has been indexed yet.
    """
    from indexer_core.index.commit import Manifests

    manifest = Manifests(system.index).newest()
    if not manifest.spaces:
        raise system.nothing_indexed()
    return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The encoders that a user named, ready to be used; None for a space that is let alone."""

    text: "TextEncoder | None" = None
    image: "ImageEncoder | None" = None


def encoders_named(
    options: argparse.Namespace, system: "LocalSystem", spaces: Collection[str]
) -> Named:
    """The encoders that the arguments name, for those of these spaces that they are for.

    Raises
    ------
    InvalidInputError
        What is named is no encoder, or one of another space.
    """
    from local_host.encoders import DESCRIPTOR_NAME, PIXEL_MODEL_NAME

    is_path = Path(options.source).exists()
    if options.source == BIOMEDCLIP and not is_path:
        return _biomedclip(options, system, spaces)
    if options.source == DESCRIPTOR_NAME and not is_path:
        return Named(image=_checked(_descriptor(system), "image", spaces))
    if options.source == PIXEL_MODEL_NAME and not is_path:
        return Named(image=_checked(system.needed_pixel_model.encoder, "image", spaces))
    return Named(text=_checked(_taken_in(options.source, system), "text", spaces))


def _checked(encoder: T, space: str, spaces: Collection[str]) -> T:
    if space not in spaces:
        raise InvalidInputError(f"that is an encoder of the {space} space")
    return encoder


def _descriptor(system: "LocalSystem") -> "ImageEncoder":
    """The image encoder that is part of the program."""
    return next(iter(system.encoders.images))


def _biomedclip(
    options: argparse.Namespace, system: "LocalSystem", spaces: Collection[str]
) -> Named:
    """BiomedCLIP's towers, exported; its weights are loaded, checked and let go of."""
    if options.weights is None:
        raise InvalidInputError(
            "say where the weights are: --weights FOLDER, or --weights hf-hub: to download them"
        )
    # torch and open_clip are loaded here and only here.
    from gpu_worker.encoders.biomedclip import encoder_ids, load_biomedclip, locate_biomedclip

    weights = locate_biomedclip(options.weights)
    text_id, image_prefix = encoder_ids(weights)
    text = _begun_text(text_id, system, int8=options.int8) if "text" in spaces else None
    image = _begun_image(image_prefix, system) if "image" in spaces else None
    missing = {name for name, begun in (("text", text), ("image", image)) if begun is None}
    if missing & set(spaces):
        model = load_biomedclip(weights)
        if "text" in missing & set(spaces):
            text = _exported_text(model.text, system, int8=options.int8)
        if "image" in missing & set(spaces):
            image = _exported_image(model.image, system)
    return Named(text=text, image=image)


def _exported_text(tower: "TextTower", system: "LocalSystem", *, int8: bool) -> "TextEncoder":
    from gpu_worker.encoders.export import export_tower

    with TemporaryDirectory() as folder:
        export = Path(folder) / BIOMEDCLIP
        manifest = export_tower(tower, export, int8_on=sampled_texts(system) if int8 else None)
        if int8:
            print(_told(manifest["precision"]))
        return _taken_in(str(export), system)


def _exported_image(tower: "ImageTower", system: "LocalSystem") -> "ImageEncoder":
    from gpu_worker.encoders.export_image import export_image_tower

    with TemporaryDirectory() as folder:
        export = Path(folder) / BIOMEDCLIP
        encoder_id = export_image_tower(tower, export)["encoder_id"]
        system.home.leave_image_export(system.encoders.take_in_image(export), encoder_id)
        return system.encoders.needed_image(encoder_id)


def _begun_text(exact_id: str, system: "LocalSystem", *, int8: bool) -> "TextEncoder | None":
    """The encoder as an earlier call left it, live or being built.

    Texts were added since, so measuring 8 bits again might end otherwise: what was begun goes on.
    """
    from gpu_worker.encoders.quantising import ID_SUFFIX

    space = _space(system, "text")
    rounded_id = exact_id + ID_SUFFIX
    wanted = rounded_id if int8 else exact_id
    begun: dict[str, tuple[str | None, ...]] = {wanted: (space.building, space.live)}
    if int8:
        begun[exact_id] = (space.building,)
    for encoder_id, places in begun.items():
        if encoder_id in places and system.encoders.has(encoder_id):
            return system.encoders.needed(encoder_id)
    return None


def _begun_image(prefix: str, system: "LocalSystem") -> "ImageEncoder | None":
    from indexer_core.pixels.recipe import PixelRecipe

    space = _space(system, "image")
    for encoder_id in (space.building, space.live):
        is_same = encoder_id is not None and encoder_id.startswith(prefix)
        # Slices that are prepared otherwise make another encoder.
        if encoder_id is not None and is_same and encoder_id.endswith(PixelRecipe().recipe_id):
            return system.encoders.images.find(encoder_id)
    return None


def _space(system: "LocalSystem", name: str) -> "Space":
    space = newest(system).space(name)
    assert space is not None
    return space


def sampled_texts(system: "LocalSystem") -> list[str]:
    """The texts of a thousand series: those of the smallest keys, which are hashes."""
    reader = system.reader()
    hidden = newest(system).suppressed
    shown = ((key, place) for key, place in reader.winners() if place.alive and key not in hidden)
    chosen = sorted(shown, key=lambda found: found[0])[:_SAMPLED_SERIES]
    rows = (reader.row(place) for _, place in chosen)
    return [text for row in rows if row.record is not None for text in row.record["texts"]]


def _told(precision: dict[str, Any]) -> str:
    recall, n_texts = precision["recall_at_10"], precision["texts"]
    if recall is None:
        return f"int8: {n_texts:,} texts are too few to measure it on; in single precision"
    kept = "taken" if precision["used"] == "int8" else "too few; in single precision"
    return f"int8: finds {recall:.1%} of the ten nearest of {n_texts:,} texts: {kept}"


def _taken_in(source: str, system: "LocalSystem") -> "TextEncoder":
    """The encoder of an exported folder, put where all programs of the index find it."""
    from indexer_core.adapters.onnx_text import OnnxTextEncoder
    from local_host.encoders import DEFAULT_NAME

    if source == DEFAULT_NAME and not Path(source).exists():
        default = system.encoders.default
        system.home.leave_encoder(system.encoders.default_folder)
        return default
    folder = system.encoders.take_in(Path(source))
    encoder = OnnxTextEncoder.load(folder)
    system.home.leave_export(folder, encoder.encoder_id)
    return encoder
