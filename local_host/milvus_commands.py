"""The command `milvus`: follow the index there, say how far that is, prove it, do it anew."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import TYPE_CHECKING

from indexer_core.adapters.milvus.settings import MilvusSettings, client_at_hand
from indexer_core.errors import (
    ConflictError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)
from local_host import output
from local_host.opening import reading
from local_host.settings import Settings
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from indexer_core.adapters.milvus.checking import Proof
    from indexer_core.adapters.milvus.follower import Follower
    from indexer_core.adapters.milvus.lag import Lag

_POLL_S = 2.0
_TROUBLED_S = 10.0
_STAGE = "following"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """The index and the Milvus that follows it; `stop`: set once the work is to end."""

    system: LocalSystem
    client: "MilvusClient"
    settings: MilvusSettings
    stop: threading.Event


def run_milvus(options: argparse.Namespace, settings: Settings) -> int:
    """Do what is asked of the index on Milvus; the data directory is only read, but for its state.

    The state is one small file, which several followers may write at once.
    """
    found = settings.milvus
    if found is None:
        raise InvalidInputError(
            "set DICOM_INDEXER_MILVUS_URI to the address of a Milvus, or to a folder that ends in "
            ".db, which milvus-lite then makes"
        )
    actions: dict[str, Callable[[argparse.Namespace, _Home], int]] = {
        "follow": _follow,
        "status": _status,
        "verify": _verify,
        "rebuild": _rebuild,
    }
    stop = threading.Event()
    with ExitStack() as stack:
        if options.action in ("follow", "rebuild"):
            stack.enter_context(_stopping(stop))
        system = stack.enter_context(closing(reading(settings)))
        client = stack.enter_context(closing(_connected(found)))
        home = _Home(system=system, client=client, settings=found, stop=stop)
        return actions[options.action](options, home)


def _connected(settings: MilvusSettings) -> "MilvusClient":
    with client_at_hand():
        from indexer_core.adapters.milvus.client import connect
    return connect(settings)


def _follow(options: argparse.Namespace, home: _Home) -> int:
    from indexer_core.adapters.milvus.follower import CURRENT

    with closing(output.progress()) as bar:
        follower = _follower(home, bar)
        number = -1
        while not home.stop.is_set():
            outcome, number, wait_s = _step(follower, number, is_patient=not options.once)
            if options.once and outcome == CURRENT:
                return 0
            home.stop.wait(wait_s)
    print("stopped following; the same command carries on where it was", file=sys.stderr)
    return 0


def _rebuild(_options: argparse.Namespace, home: _Home) -> int:
    from indexer_core.adapters.milvus.follower import CURRENT

    with closing(output.progress()) as bar:
        follower = _follower(home, bar)
        # Whoever follows already does it; this one does where nobody else is.
        follower.ledger.note(is_rebuild_wanted=True)
        outcome, number = "", -1
        while outcome != CURRENT and not home.stop.is_set():
            outcome, number, wait_s = _step(follower, number, is_patient=False)
            home.stop.wait(wait_s)
    if outcome != CURRENT:
        print("stopped; whoever follows next carries on with it", file=sys.stderr)
        return 1
    return 0


def _step(follower: "Follower", before: int, *, is_patient: bool) -> tuple[str, int, float]:
    """One step, told: its outcome, the number that can be searched, how long to wait."""
    from indexer_core.adapters.milvus.follower import APPLIED, OVERTAKEN

    try:
        step = follower.step()
    except (UnavailableError, UnknownOutcomeError, ConflictError) as error:
        if not is_patient:
            raise
        print(f"dicom-indexer: {error}; trying again", file=sys.stderr)
        return "", before, _TROUBLED_S
    if step.number != before and step.number:
        print(f"manifest {step.number} can be searched", file=sys.stderr)
    return step.outcome, step.number, 0.0 if step.outcome in (APPLIED, OVERTAKEN) else _POLL_S


def _follower(home: _Home, bar: "output.Bar") -> "Follower":
    from indexer_core.adapters.milvus.follower import Follower
    from indexer_core.adapters.milvus.moving import FollowPolicy

    system = home.system
    return Follower(
        home.client,
        system.index,
        system.vector_files,
        prefix=home.settings.prefix,
        address=system.home.address,
        clock=system.clock,
        ids=system.ids,
        policy=FollowPolicy(timeout_s=home.settings.timeout_s),
        files=system.stores.files,
        told=lambda done, total: bar.advance(_STAGE, done, total),
        is_stopped=home.stop.is_set,
    )


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the work between two requests; the second ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(options: argparse.Namespace, home: _Home) -> int:
    from indexer_core.adapters.milvus.lag import lag_of

    system = home.system
    lag = lag_of(home.client, system.index, prefix=home.settings.prefix, clock=system.clock)
    if options.format == "json":
        print(json.dumps({**asdict(lag), "n_behind": lag.n_behind}, indent=2))
    else:
        for line in _told_lag(lag):
            print(line)
    return 1 if lag.missing else 0


def _told_lag(lag: "Lag") -> Iterator[str]:
    if not lag.generation:
        yield f"nothing was followed yet; the index is at manifest {lag.newest}"
    elif lag.missing:
        yield "nothing can be searched: collections are missing; run dicom-indexer milvus follow"
    elif lag.n_behind:
        yield (
            f"manifest {lag.applied} can be searched, {lag.n_behind:,} behind: "
            f"{lag.behind_s:,.0f} s"
        )
    else:
        yield f"manifest {lag.applied} can be searched, the newest there is"
    for kind, n in lag.entities.items():
        yield f"{kind}: {n:,} entities, {lag.dead[kind]:,} more of earlier manifests"
    for kind in lag.missing:
        yield f"{kind}: not in this Milvus; the next follower fills it anew"
    for name in lag.strangers:
        yield f"{name}: of another index with this prefix, or left by one; nothing here touches it"
    if lag.is_building:
        yield "new collections are being filled, or are to be"
    if lag.is_in_doubt:
        yield "the next step compares every series"
    yield "a follower is at work" if lag.follower else "no follower is at work at this moment"


def _verify(options: argparse.Namespace, home: _Home) -> int:
    from indexer_core.adapters.milvus.checking import verify

    system = home.system
    proof = verify(
        home.client,
        system.index,
        system.vector_files,
        prefix=home.settings.prefix,
        files=system.stores.files,
    )
    if options.format == "json":
        print(json.dumps({**asdict(proof), "isEqual": proof.is_equal}, indent=2))
    else:
        _print_proof(proof)
    return 0 if proof.is_equal else 1


def _print_proof(proof: "Proof") -> None:
    for kind, found in proof.collections.items():
        said = f"{kind}: {found.n_equal:,} entities as manifest {proof.number} says"
        wrong = {
            "missing": found.n_missing,
            "too many": found.n_extra,
            "of deleted series": found.n_hidden,
            "of other content": found.n_different,
        }
        print("; ".join([said, *(f"{n:,} {what}" for what, n in wrong.items() if n)]))
    if not proof.is_equal:
        print("  series " + ", ".join(proof.series), file=sys.stderr)
        print("dicom-indexer: dicom-indexer milvus rebuild mends it", file=sys.stderr)
