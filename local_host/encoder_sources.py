"""From what a user names to an encoder that all programs of the index find."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from indexer_core.errors import InvalidInputError

if TYPE_CHECKING:
    from indexer_core.index.manifest import Manifest, Space
    from indexer_core.ports import TextEncoder
    from local_host.wiring import LocalSystem

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


def encoder_named(options: argparse.Namespace, system: "LocalSystem") -> "TextEncoder":
    """The text encoder that the arguments name; without any, the one that is being built."""
    if options.source is None:
        return encoder_building(system)
    if options.source == BIOMEDCLIP and not Path(BIOMEDCLIP).exists():
        return _biomedclip(options, system)
    return _taken_in(options.source, system)


def encoder_building(system: "LocalSystem") -> "TextEncoder":
    """The text encoder that is being built.

    Raises
    ------
    InvalidInputError
        None is.
    NotFoundError
        It is not here.
    """
    building = _text_space(system).building
    if building is None:
        raise InvalidInputError(
            "no text encoder is being built: dicom-indexer encoder build FOLDER begins, "
            "with the folder that holds its export"
        )
    return system.encoders.needed(building)


def _text_space(system: "LocalSystem") -> "Space":
    from indexer_core.index.segment import TEXT_SPACE

    space = newest(system).space(TEXT_SPACE)
    assert space is not None
    return space


def _biomedclip(options: argparse.Namespace, system: "LocalSystem") -> "TextEncoder":
    """The text tower of BiomedCLIP, exported; its weights are loaded, checked and let go of."""
    if options.weights is None:
        raise InvalidInputError(
            "say where the weights are: --weights FOLDER, or --weights hf-hub: to download them"
        )
    # torch and open_clip are loaded here and only here.
    from gpu_worker.encoders.biomedclip import load_biomedclip, locate_biomedclip, text_encoder_id
    from gpu_worker.encoders.export import export_tower

    weights = locate_biomedclip(options.weights)
    begun = _begun(text_encoder_id(weights), system, int8=options.int8)
    if begun is not None:
        return begun
    texts = sampled_texts(system) if options.int8 else None
    with TemporaryDirectory() as folder:
        export = Path(folder) / BIOMEDCLIP
        manifest = export_tower(load_biomedclip(weights).text, export, int8_on=texts)
        if options.int8:
            print(_told(manifest["precision"]))
        return _taken_in(str(export), system)


def _begun(exact_id: str, system: "LocalSystem", *, int8: bool) -> "TextEncoder | None":
    """The encoder as an earlier call left it, live or being built.

    Texts were added since, so measuring 8 bits again might end otherwise: what was begun goes on.
    """
    from gpu_worker.encoders.quantising import ID_SUFFIX

    space = _text_space(system)
    rounded_id = exact_id + ID_SUFFIX
    candidates = (
        {space.building: (rounded_id, exact_id), space.live: (rounded_id,)}
        if int8
        else {space.building: (exact_id,), space.live: (exact_id,)}
    )
    for used, wanted in candidates.items():
        if used in wanted and system.encoders.has(used):
            return system.encoders.needed(used)
    return None


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
