"""An account, the Functions app over it in the real runtime, and the real worker's loop."""

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from uuid import uuid4

import pydicom

from function_app.search import records
from function_app.wiring import build_services, read_settings
from gpu_worker.loop import WorkerSettings, work_once
from gpu_worker.wiring import build_worker, leave_export
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.configured import ENCODER_PREFIX
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.stores import azure_stores
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.announcements import Nobody
from indexer_core.descriptor import DIMENSION, ImageDescriptor
from indexer_core.encoders import in_store
from indexer_core.index.reader import Reader
from indexer_core.indexing import open_index
from indexer_core.messages import parse_ready
from indexer_core.pixels.stack import slices_from_bytes
from indexer_core.rules import load_rules
from indexer_core.search import blobs_of
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.templates import load_templates
from indexer_core.uids import series_key
from tests.support.azurite import ACCOUNT, Azurite
from tests.support.functions_host import FunctionsHost

SCOPE = "study-a"


@dataclass
class House:
    """An account, the functions over it, the worker over it, and what should be in the index."""

    azurite: Azurite
    storage: AzureStorage
    host: FunctionsHost
    settings: Mapping[str, str]
    encoder: Path
    model: dict[str, str] = field(default_factory=dict)
    """Blob name -> key of the series that it belongs to, of all blobs that are there."""
    sequence: Iterator[int] = field(default_factory=count)
    received: set[tuple[str, int, str]] = field(default_factory=set)
    """(series, revision, digest) of every message that the worker was given."""

    def __post_init__(self):
        self.container = self.storage.create_container("dicom")
        settings = read_settings(self.settings)
        source = AzureContainerSource(self.container, scope=SCOPE)
        stores = azure_stores(self.storage, [source], SystemClock(), RandomIds())
        self.stores = replace(stores, series_ready=Noting(stores.series_ready, self.received))
        # An export that is kept between runs, as the worker of before would have left it: an
        # intact one stays, anything else is replaced.
        for file in self.encoder.iterdir():
            self.stores.index.put_if_absent(ENCODER_PREFIX + file.name, file.read_bytes())
        leave_export(self.stores.index, ENCODER_PREFIX, MANIFEST_NAME)
        rules = load_rules()
        indexer = open_index(
            self.stores,
            text_encoder=OnnxTextEncoder.load(
                lambda name: self.stores.index.get(ENCODER_PREFIX + name).data
            ),
            find_encoder=in_store(self.stores.index, OnnxTextEncoder.load),
            vector_files=FlatFp16Vectors(),
            image_encoder_id=ImageDescriptor().encoder_id,
            image_dimension=DIMENSION,
            rules=rules,
            templates=load_templates((), rules),
        )
        services = build_services(
            self.stores,
            indexer=lambda: indexer,
            announcer=Nobody(),
            patient_secret=settings.patient_secret,
            quiet_s=settings.quiet_s,
            max_wait_s=settings.max_wait_s,
        )
        self.worker = build_worker(
            self.stores,
            assembly=services.assembly,
            indexer=indexer,
            image_encoders=(ImageDescriptor(),),
            announcer=Nobody(),
            settings=WorkerSettings(retry_s=0.0),
            decode=slices_from_bytes,
        )

    def close(self):
        """End the worker; the functions and the account are others' to end."""
        self.worker.threads.shutdown()

    def put(self, name, data, *, kind="PutBlob"):
        """Write a blob; the event that Event Grid would send."""
        done = self.container.get_blob_client(name).upload_blob(data, overwrite=True)
        self.model[name] = key_of(data)
        return self.event(name, "BlobCreated", kind, done["etag"], len(data))

    def remove(self, name):
        self.container.delete_blob(name)
        del self.model[name]
        return self.event(name, "BlobDeleted", "DeleteBlob")

    def event(self, name, kind, api, etag=None, size=None, container="dicom"):
        url = self.container.get_blob_client(name).url.replace("/dicom/", f"/{container}/")
        created = {"eTag": etag, "contentLength": size} if etag else {}
        return {
            "topic": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Storage/"
            f"storageAccounts/{ACCOUNT}",
            "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
            "eventType": f"Microsoft.Storage.{kind}",
            "eventTime": "2026-11-23T18:41:00.9584103Z",
            "id": str(uuid4()),
            "dataVersion": "",
            "metadataVersion": "1",
            "data": {
                "api": api,
                "clientRequestId": str(uuid4()),
                "requestId": str(uuid4()),
                **created,
                "contentType": "application/dicom",
                "blobType": "BlockBlob",
                "url": url,
                "sequencer": f"{next(self.sequence):032x}",
                "storageDiagnostics": {"batchId": str(uuid4())},
            },
        }

    def deliver(self, events):
        """Put messages on ``blob-events`` as Event Grid does: base64."""
        queue = self.storage.queue("blob-events")
        bodies = [event if isinstance(event, str) else json.dumps(event) for event in events]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda b: queue.send_message(in_base64(b), time_to_live=-1), bodies))

    def settle(self):
        """Until the functions and the worker have nothing left to do."""
        while True:
            n_handled = self.host.run_until_idle(self.azurite.advance)
            if work_once(self.worker) is None and n_handled == 0:
                return

    def indexed(self):
        """Series key -> (record, blob names) as a reader of the index sees it."""
        snapshot = Reader(self.stores.index, FlatFp16Vectors()).refresh()
        return {
            record["seriesKey"]: (record, {self.name_of(url) for url in blobs_of(hit)})
            for hit, record in records(SnapshotIndex(snapshot), ())
        }

    def name_of(self, url):
        located = self.stores.sources.locate(url)
        assert located is not None
        return located.name

    def check_index(self):
        """The index says what the model says; returns the records."""
        expected = defaultdict(set)
        for name, key in self.model.items():
            expected[key].add(name)
        found = self.indexed()
        assert {key: names for key, (_, names) in found.items()} == expected
        for key, (record, names) in found.items():
            marker = self.stores.instances.get(key, "_series").values
            assert marker["revision"] == record["revision"]
            assert record["instances"] == len(names)
        assert list(self.stores.open_series.scan()) == []
        return {key: record for key, (record, _) in found.items()}


@dataclass
class Noting:
    """A work queue that notes which series-ready messages were handed out."""

    inner: object
    seen: set

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def receive(self, max_messages, visibility_s):
        messages = self.inner.receive(max_messages, visibility_s)
        for message in messages:
            ready = parse_ready(message.body)
            self.seen.add((ready.series, ready.revision, ready.digest))
        return messages


def in_base64(text):
    return base64.b64encode(text.encode()).decode()


def key_of(data):
    header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
    return series_key(SCOPE, header.StudyInstanceUID, header.SeriesInstanceUID)


def edited(data, **elements):
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in elements.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def repeated(events, chance, share=0.2):
    """Shuffled, and a share of them twice."""
    events = [*events, *chance.sample(events, round(share * len(events)))]
    chance.shuffle(events)
    return events
