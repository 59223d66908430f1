"""The command `encoder`: change encoders while indexing and searching go on."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from indexer_core.errors import InvalidInputError, UnavailableError, UnknownOutcomeError
from local_host import output
from local_host.encoder_sources import BIOMEDCLIP, encoders_named, newest
from local_host.golden import Golden, check_switch, load_golden
from local_host.opening import reading
from local_host.settings import Settings

if TYPE_CHECKING:
    from indexer_core.index.manifest import Manifest
    from indexer_core.index.switching import SpaceState
    from local_host.encoder_changes import Change
    from local_host.wiring import LocalSystem

T = TypeVar("T")

SPACES = ("text", "image")
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
    if options.golden is not None and options.action not in {"switch", "set"}:
        raise InvalidInputError("--golden goes with switch and set")
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
        "hasLive": _has(system, space.live),
        "building": space.building,
        "hasBuilding": space.building and _has(system, space.building),
        "segments": state.n_segments,
        "filledSegments": state.n_filled_segments,
        "vectors": state.n_vectors,
        "filledVectors": state.n_filled_vectors,
    }


def _has(system: "LocalSystem", encoder_id: str) -> bool | None:
    """Whether the encoder is here; None for the image encoder that is part of the programs."""
    if encoder_id in system.encoders.images.own_ids:
        return None
    return system.encoders.has(encoder_id)


def _absent(has_it: bool | None) -> str:
    return " (which is not here)" if has_it is False else ""


def _build(options: argparse.Namespace, system: "LocalSystem") -> int:
    """Make the vectors of what is named, or of what was begun."""
    for change in _changes(options, system):
        if _live(system, change.space) == change.encoder_id:
            print(f"searched with {change.encoder_id} already")
            continue
        change.start()
        _step(system, change, change.fill)
        print(f"built {change.encoder_id}: dicom-indexer encoder switch puts it in force")
    return 0


def _changes(options: argparse.Namespace, system: "LocalSystem") -> "list[Change]":
    from local_host.encoder_changes import change_of_images, change_of_texts

    newest(system)
    if options.source is None:
        return _begun(options, system)
    named = encoders_named(options, system, _spaces(options))
    changes = []
    if named.text is not None:
        changes.append(change_of_texts(named.text, system))
    if named.image is not None:
        changes.append(change_of_images(named.image, system))
    return changes


def _begun(options: argparse.Namespace, system: "LocalSystem") -> "list[Change]":
    from local_host.encoder_changes import changes_building

    found = changes_building(system, _spaces(options))
    if not found:
        raise InvalidInputError(
            "no encoder is being built: dicom-indexer encoder build FOLDER begins, "
            "with the folder that holds its export"
        )
    return found


def _spaces(options: argparse.Namespace) -> tuple[str, ...]:
    return SPACES if options.only is None else (options.only,)


def _live(system: "LocalSystem", name: str) -> str:
    space = newest(system).space(name)
    assert space is not None
    return space.live


def _switch(options: argparse.Namespace, system: "LocalSystem") -> int:
    from indexer_core.index.segment import TEXT_SPACE

    newest(system)
    questions = _golden(options)
    for change in _begun(options, system):
        if questions and change.space == TEXT_SPACE:
            _step(system, change, change.fill)
            check_switch(questions, change.encoder_id, change.dimension, system)
        after = _step(system, change, change.switch)
        print(f"searched with {change.encoder_id} from manifest {after.number} on")
    return 0


def _golden(options: argparse.Namespace) -> list[Golden]:
    return [] if options.golden is None else load_golden(Path(options.golden))


def _step(
    system: "LocalSystem", change: "Change", step: "Callable[[_Told], Manifest]"
) -> "Manifest":
    with closing(output.progress()) as bar:
        told = _Told(bar, change.stage)
        after = _patiently(system, told, lambda: step(told))
    if change.n_unseen():
        print(
            f"{change.n_unseen():,} series could not be seen again, their files are gone or "
            "changed: dicom-indexer index mends that"
        )
    return after


def _set(options: argparse.Namespace, system: "LocalSystem") -> int:
    """Build and switch; begun again after an interruption it carries on."""
    from local_host.encoder_changes import changes_building

    _golden(options)  # what is wrong with the file is told before hours of work
    _build(options, system)
    return _switch(options, system) if changes_building(system, _spaces(options)) else 0


def _abandon(options: argparse.Namespace, system: "LocalSystem") -> int:
    from local_host.encoder_changes import abandon

    spaces = [space for space in newest(system).spaces if space.name in _spaces(options)]
    if not any(space.building for space in spaces):
        raise InvalidInputError("no encoder is being built")
    for space in spaces:
        if space.building is not None:
            abandon(system, space.name, space.building)
            print(f"abandoned {space.building}; searched with {space.live} as before")
    return 0


class _Told:
    """Shows how far a build has come, and notices whether it gets on."""

    def __init__(self, bar: "output.Bar", stage: str) -> None:
        self._bar = bar
        self._stage = stage
        self.n_done = 0

    def __call__(self, state: "SpaceState", n_made: int) -> None:
        self.n_done = state.n_filled_vectors + n_made
        self._bar.advance(self._stage, self.n_done, state.n_vectors)


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
