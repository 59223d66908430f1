"""The objects behind the functions.

The one-machine host builds the same services over its own stores.
"""

from collections.abc import Callable, Mapping

from function_app.handlers import ParseEvents, Services
from indexer_core.adapters.azure.settings import (
    Settings,
    SourceSetting,
    read_settings,
)
from indexer_core.announcements import Announcer
from indexer_core.events import parse_events
from indexer_core.handover import build_assembly
from indexer_core.index.upkeep import Upkeep
from indexer_core.indexing import Indexer
from indexer_core.look import Looker
from indexer_core.ports import WorkQueue
from indexer_core.stores import Stores
from indexer_core.telemetry import SILENT, Telemetry
from indexer_core.telling import Telling

# The settings are shared with the worker, and known by their first address, too.
__all__ = ["Settings", "SourceSetting", "build_assembly", "build_services", "read_settings"]


def build_services(
    stores: Stores,
    *,
    indexer: Callable[[], Indexer | None],
    announcer: Announcer,
    patient_secret: bytes,
    quiet_s: float,
    max_wait_s: float,
    parse: ParseEvents = parse_events,
    upkeep: Upkeep | None = None,
    telemetry: Telemetry = SILENT,
    queues: Mapping[str, WorkQueue] | None = None,
) -> Services:
    """What the handlers need, over any stores.

    `indexer` gives the index writer for what needs no pixels, or None: all goes to the worker.
    """
    assembly = build_assembly(
        stores,
        indexer=indexer,
        announcer=announcer,
        quiet_s=quiet_s,
        max_wait_s=max_wait_s,
        telemetry=telemetry,
    )
    looker = Looker(
        sources=stores.sources,
        blobs=stores.blobs,
        instances=stores.instances,
        rejects=stores.rejects,
        assembly=assembly,
        clock=stores.clock,
        patient_secret=patient_secret,
    )
    return Services(
        looker=looker,
        assembly=assembly,
        rejects=stores.rejects,
        telling=Telling(clock=stores.clock, telemetry=telemetry),
        parse=parse,
        upkeep=upkeep,
        queues=queues or {},
    )
