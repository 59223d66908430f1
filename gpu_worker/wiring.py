"""The objects of the worker."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from gpu_worker.loop import Worker, WorkerSettings
from indexer_core.announcements import Announcer
from indexer_core.assembly import Assembly
from indexer_core.indexing import Indexer
from indexer_core.ports import BlobStore, ImageEncoder
from indexer_core.stores import Stores

MAX_THREADS = 4


def build_worker(
    stores: Stores,
    *,
    assembly: Assembly,
    indexer: Indexer,
    image_encoder: ImageEncoder,
    announcer: Announcer,
    settings: WorkerSettings,
) -> Worker:
    """What the loop needs, over any stores."""
    return Worker(
        ready=stores.series_ready,
        poison=stores.poison,
        looks=stores.blob_events,
        rejects=stores.rejects,
        assembly=assembly,
        indexer=indexer,
        sources=stores.sources,
        image_encoder=image_encoder,
        announcer=announcer,
        threads=ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, MAX_THREADS)),
        settings=settings,
    )


def leave_text_encoder(index: BlobStore, prefix: str, manifest_name: str) -> None:
    """Export the text encoder beside the index, so that the functions need no torch.

    The manifest comes last: whoever finds it finds all that it names.
    """
    if index.properties(prefix + manifest_name) is not None:
        return
    from gpu_worker.encoders.export import export_text_encoder

    with TemporaryDirectory() as folder:
        export_text_encoder(Path(folder) / "text")
        files = sorted((Path(folder) / "text").iterdir(), key=lambda f: f.name == manifest_name)
        for file in files:
            index.put_if_absent(prefix + file.name, file.read_bytes())
