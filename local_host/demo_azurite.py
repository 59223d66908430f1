"""`make demo-azurite`: upload files to an emulated Azure account and watch them get searchable.

What Azure does by itself is done here by hand: after each upload the event that Event Grid would
write goes to the queue. What takes it from there are the functions' own handlers and the worker's
own loop, over blobs, queues and tables of Azurite. Nothing of it leaves this machine.
"""

import json
import logging
import secrets
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from azure.storage.blob import ContainerClient

from function_app.search import SearchRequest, search
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.settings import Settings as AzureSettings
from indexer_core.adapters.azure.settings import SourceSetting
from indexer_core.announcements import Announcement, AnnouncementType
from indexer_core.errors import IndexerError
from indexer_core.search import blobs_of, listing, record_of
from indexer_core.selection import select
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.templates import template_names
from local_host import output
from local_host.azurite import running_azurite
from local_host.runner import Runner
from local_host.settings import DEFAULT_DATA, Settings
from local_host.wiring import LocalSystem

ROOT = Path(__file__).parents[1]
QUIET_S = 2.0
_CONTAINER = "dicom-inbox"
_SEARCHES = (
    "ultrasound of the heart",
    "sagittal MRI of the brain",
    "CT scan for coronary calcium scoring",
)
_PAUSE_S = 0.1


@dataclass
class Uploads:
    """Puts files into a container, one by one, each followed by its event."""

    container: ContainerClient
    events: AzureQueue
    paths: Sequence[Path]
    folder: Path
    done_s: dict[str, float] = field(default_factory=dict)
    """When the blob of a URL was there."""

    def run(self) -> None:
        """Upload everything."""
        for path in self.paths:
            name = path.relative_to(self.folder).as_posix()
            blob = self.container.get_blob_client(name)
            written = blob.upload_blob(path.read_bytes())
            self.done_s[blob.url] = time.monotonic()
            self.events.send(created_event(blob.url, name, written, path.stat().st_size))


class Times:
    """An announcer that notes when each series became searchable."""

    def __init__(self) -> None:
        self.indexed_s: dict[str, float] = {}

    def announce(self, announcements: Sequence[Announcement]) -> None:
        """Note it; the newest revision of a series counts."""
        now_s = time.monotonic()
        for announcement in announcements:
            if announcement.type is AnnouncementType.SERIES_INDEXED:
                self.indexed_s[announcement.data["seriesKey"]] = now_s


def created_event(url: str, name: str, written: dict[str, Any], size_bytes: int) -> str:
    """BlobCreated as an Event Grid system topic writes it to a storage queue."""
    request = str(uuid.uuid4())
    account = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/demo"
    event = {
        "topic": f"{account}/providers/Microsoft.Storage/storageAccounts/devaccount",
        "subject": f"/blobServices/default/containers/{_CONTAINER}/blobs/{name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "id": request,
        "data": {
            "api": "PutBlob",
            "clientRequestId": str(uuid.uuid4()),
            "requestId": request,
            "eTag": written["etag"].strip('"'),
            "contentType": "application/octet-stream",
            "contentLength": size_bytes,
            "blobType": "BlockBlob",
            "url": url,
            "sequencer": f"{time.time_ns():048d}",
            "storageDiagnostics": {"batchId": str(uuid.uuid4())},
        },
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z",
    }
    return json.dumps(event)


def main() -> int:
    """Run the demo; 0 if all went well."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        with TemporaryDirectory(prefix="dicom-indexer-azurite-") as folder:
            print("Starting Azurite, an emulated Azure storage account ...", flush=True)
            with running_azurite(Path(folder), ROOT) as connection_string:
                return _run(connection_string)
    except IndexerError as error:
        print(f"demo-azurite: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; nothing is left behind", file=sys.stderr)
    return 1


def _run(connection_string: str) -> int:
    times = Times()
    system = LocalSystem(_settings(connection_string), announcer=times)
    storage = AzureStorage(connection_string)
    try:
        system.home.create()
        _ = system.indexer  # made beforehand, as of a worker that is warm
        uploads = _uploads(storage)
        started_s = time.monotonic()
        runner = _follow(uploads, times, system)
        elapsed_s = time.monotonic() - started_s
        output.print_tally(runner.tally, as_json=False)
        _print_times(uploads, times, system, elapsed_s)
        _search(system)
        return 0 if runner.tally.went_well else 1
    finally:
        storage.close()
        system.close()


def _settings(connection_string: str) -> Settings:
    source = SourceSetting(scope="demo", account=connection_string, container=_CONTAINER)
    azure = AzureSettings(
        storage=connection_string,
        sources=(source,),
        patient_secret=secrets.token_bytes(32),
        quiet_s=QUIET_S,
    )
    # Only the text encoder lies there, shared with `make demo`.
    data = Path(DEFAULT_DATA)
    return Settings(data=data, azure=azure, patient_key_file=data / "unused")


def _uploads(storage: AzureStorage) -> Uploads:
    folder = Path(str(files("pydicom") / "data" / "test_files"))
    return Uploads(
        container=storage.create_container(_CONTAINER),
        events=AzureQueue(storage.queue("blob-events")),
        paths=sorted(path for path in folder.rglob("*") if path.is_file()),
        folder=folder,
    )


def _follow(uploads: Uploads, times: Times, system: LocalSystem) -> Runner:
    """Upload in one thread, and do the work of functions and worker in this one."""
    print(f"Uploading {len(uploads.paths)} files that ship inside pydicom, with their events.")
    print(f"A series is closed when nothing came for {QUIET_S:g} s.\n", flush=True)
    runner = Runner(system)
    with ThreadPoolExecutor(max_workers=1) as pool:
        uploading = pool.submit(uploads.run)
        told = (-1, -1)
        while _is_busy(uploading, system):
            runner.round()
            now = (len(uploads.done_s), len(times.indexed_s))
            if now != told:
                print(f"  uploaded {now[0]:>4}   searchable series {now[1]:>3}", flush=True)
                told = now
            time.sleep(_PAUSE_S)
        uploading.result()
    print()
    return runner


def _is_busy(uploading: "Future[None]", system: LocalSystem) -> bool:
    queues = (system.blob_events, system.series_checks, system.series_ready)
    # In this order: work moves from the front to the back.
    return not uploading.done() or any(queue.length() for queue in queues)


def _print_times(uploads: Uploads, times: Times, system: LocalSystem, elapsed_s: float) -> None:
    snapshot = system.reader().snapshot
    waits_s = []
    for hit in listing(snapshot, select(snapshot)):
        last_s = max(uploads.done_s[url] for url in blobs_of(hit))
        waits_s.append(times.indexed_s[record_of(hit, snapshot)["seriesKey"]] - last_s)
    waits_s.sort()
    print(
        f"{len(waits_s)} series in {elapsed_s:.1f} s; from the upload of its last file a series was"
        f" searchable after {median(waits_s):.1f} s (median), {waits_s[-1]:.1f} s (slowest),"
        f" of which {QUIET_S:g} s are the quiet period"
    )


def _search(system: LocalSystem) -> None:
    names = template_names()
    snapshot = system.reader().snapshot
    for text in _SEARCHES:
        print(f'\n$ dicom-indexer --store azure search "{text}" --top 3', flush=True)
        found = search(
            SearchRequest(text=text, top=3),
            SnapshotIndex(snapshot),
            system.encoder_of(snapshot),
            names,
        )
        output.print_hits(found, "table")


if __name__ == "__main__":
    raise SystemExit(main())
