"""The command `encoder`: change the text encoder while indexing and searching go on."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from indexer_core.errors import InvalidInputError, UnavailableError, UnknownOutcomeError
from local_host import output
from local_host.encoder_sources import BIOMEDCLIP, encoder_building, encoder_named, newest
from local_host.opening import reading
from local_host.settings import Settings

if TYPE_CHECKING:
    from indexer_core.index.filling import VectorsOf
    from indexer_core.index.manifest import Space
    from indexer_core.index.switching import SpaceState, SpaceSwitch
    from indexer_core.ports import TextEncoder
    from local_host.wiring import LocalSystem

T = TypeVar("T")

_TRIES = 10
_PAUSE_S = 5.0


def run_encoder(options: argparse.Namespace, settings: Settings) -> int:
    """Do one step of a change of encoders, or say how far it has come.

    None of them takes the writer lock: they write to the index alone, whose commits are safe with
    several writers, and a build may take longer than anybody wants to wait with indexing.
    """
    if options.source is not None and options.action not in {"build", "set"}:
        raise InvalidInputError(f"encoder {options.action} takes no folder")
    for option, is_given in (("--weights", options.weights is not None), ("--int8", options.int8)):
        if is_given and options.source != BIOMEDCLIP:
            raise InvalidInputError(f"{option} goes with {BIOMEDCLIP}")
    actions = {
        "status": _status,
        "build": _build,
        "switch": _switch,
        "abandon": _abandon,
        "set": _set,
    }
    with closing(reading(settings)) as system:
        return actions[options.action](options, system)


def _status(options: argparse.Namespace, system: "LocalSystem") -> int:
    from indexer_core.index.switching import state_of

    manifest = newest(system)
    found = [_described(state_of(manifest, space), system) for space in manifest.spaces]
    if options.format == "json":
        print(json.dumps({"manifest": manifest.number, "spaces": found}, indent=2))
        return 0
    for space in found:
        print(f"{space['space']}: searched with {space['live']}{_absent(space['hasLive'])}")
        if space["building"]:
            print(
                f"  building {space['building']}{_absent(space['hasBuilding'])}: "
                f"{space['filledVectors']:,} of {space['vectors']:,} vectors, "
                f"{space['filledSegments']:,} of {space['segments']:,} segments"
            )
    return 0


def _described(state: "SpaceState", system: "LocalSystem") -> dict[str, Any]:
    space = state.space
    return {
        "space": space.name,
        "live": space.live,
        "hasLive": _has(system, space, space.live),
        "building": space.building,
        "hasBuilding": space.building and _has(system, space, space.building),
        "segments": state.n_segments,
        "filledSegments": state.n_filled_segments,
        "vectors": state.n_vectors,
        "filledVectors": state.n_filled_vectors,
    }


def _has(system: "LocalSystem", space: "Space", encoder_id: str) -> bool | None:
    """Whether the encoder is here; None for image encoders, which are part of the programs."""
    from indexer_core.index.segment import TEXT_SPACE

    return None if space.name != TEXT_SPACE else system.encoders.has(encoder_id)


def _absent(has_it: bool | None) -> str:
    return " (which is not here)" if has_it is False else ""


def _build(options: argparse.Namespace, system: "LocalSystem") -> int:
    from indexer_core.index.segment import TEXT_SPACE

    space = newest(system).space(TEXT_SPACE)
    assert space is not None
    encoder = encoder_named(options, system)
    if encoder.encoder_id == space.live:
        print(f"searched with {encoder.encoder_id} already")
        return 0
    switcher = _switcher(system)
    switcher.start(TEXT_SPACE, encoder.encoder_id, encoder.dimension)
    with closing(output.progress()) as bar:
        told = _Told(bar)
        _patiently(
            system,
            told,
            lambda: switcher.fill(
                TEXT_SPACE, encoder.encoder_id, _vectors_of(system, encoder), progress=told
            ),
        )
    print(f"built {encoder.encoder_id}: dicom-indexer encoder switch puts it in force")
    return 0


def _switch(options: argparse.Namespace, system: "LocalSystem") -> int:
    del options
    from indexer_core.index.segment import TEXT_SPACE

    newest(system)
    encoder = encoder_building(system)
    switcher = _switcher(system)
    with closing(output.progress()) as bar:
        told = _Told(bar)
        after = _patiently(
            system,
            told,
            lambda: switcher.switch(
                TEXT_SPACE, encoder.encoder_id, _vectors_of(system, encoder), progress=told
            ),
        )
    print(f"searched with {encoder.encoder_id} from manifest {after.number} on")
    return 0


def _set(options: argparse.Namespace, system: "LocalSystem") -> int:
    """Build and switch; begun again after an interruption it carries on."""
    from indexer_core.index.segment import TEXT_SPACE

    status = _build(options, system)
    space = newest(system).space(TEXT_SPACE)
    assert space is not None
    return status if space.building is None else _switch(options, system)


def _abandon(options: argparse.Namespace, system: "LocalSystem") -> int:
    del options
    from indexer_core.index.segment import TEXT_SPACE

    space = newest(system).space(TEXT_SPACE)
    assert space is not None
    if space.building is None:
        raise InvalidInputError("no text encoder is being built")
    _switcher(system).abandon(TEXT_SPACE, space.building)
    print(f"abandoned {space.building}; searched with {space.live} as before")
    return 0


class _Told:
    """Shows how far a build has come, and notices whether it gets on."""

    def __init__(self, bar: "output.Bar") -> None:
        self._bar = bar
        self.n_done = 0

    def __call__(self, state: "SpaceState", n_made: int) -> None:
        self.n_done = state.n_filled_vectors + n_made
        self._bar.advance("embedding", self.n_done, state.n_vectors)


def _patiently(system: "LocalSystem", told: _Told, step: Callable[[], T]) -> T:
    """Do a step of hours, over an account again when storage fails meanwhile.

    On one machine whatever fails (a full disk) will not mend by itself.
    """
    n_left, n_done = _TRIES, 0
    while True:
        try:
            return step()
        except (UnavailableError, UnknownOutcomeError) as error:
            n_left = _TRIES if told.n_done > n_done else n_left - 1
            n_done = told.n_done
            if system.settings.azure is None or n_left <= 0:
                raise
            print(f"dicom-indexer: {error}; trying again", file=sys.stderr, flush=True)
            time.sleep(_PAUSE_S)


def _switcher(system: "LocalSystem") -> "SpaceSwitch":
    from indexer_core.index.switching import SpaceSwitch

    return SpaceSwitch(
        blobs=system.index, vector_files=system.vector_files, clock=system.clock, ids=system.ids
    )


def _vectors_of(system: "LocalSystem", encoder: "TextEncoder") -> "VectorsOf":
    from indexer_core.index.filling import text_vectors
    from indexer_core.indexing import cached

    return text_vectors(
        cached(encoder, system.stores),
        uncached=encoder,
        hidden=lambda: newest(system).suppressed,
    )
