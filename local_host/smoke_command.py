"""The command `smoke`: try a deployment with one made-up file."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from indexer_core.adapters.azure.settings import SOURCES, SourceSetting, parse_sources
from indexer_core.adapters.system import SystemClock
from indexer_core.errors import InvalidInputError
from local_host.settings import Settings
from local_host.smoke import SmokeTest, made_up_sample
from local_host.smoke_service import HttpService

if TYPE_CHECKING:
    from indexer_core.ports import BlobStore

KEY = "DICOM_INDEXER_KEY"
TOKEN = "DICOM_INDEXER_TOKEN"  # noqa: S105 - the name of a variable


def run_smoke(options: argparse.Namespace, settings: Settings) -> int:
    """Upload a file, wait until it is found, delete it, wait until it is not."""
    del settings
    service = HttpService(
        options.endpoint, key=os.environ.get(KEY, ""), token=os.environ.get(TOKEN, "")
    )
    source = source_of(options.inbox, os.environ)
    # Steps are news, the outcome is the answer.
    stream = sys.stderr if options.format == "json" else sys.stdout
    with _inbox(source) as (inbox, folder):
        done = SmokeTest(
            service=service,
            inbox=inbox,
            sample=made_up_sample(folder),
            clock=SystemClock(),
            pause=time.sleep,
            tell=lambda step: print(step, file=stream, flush=True),
            limit_s=options.wait,
        ).run()
    if options.format == "json":
        print(json.dumps(asdict(done)))
    return 0


def source_of(inbox: str | None, environment: Mapping[str, str]) -> SourceSetting:
    """The container to upload to: what is named, else the first source of the settings.

    Raises
    ------
    InvalidInputError
        There is neither, or what is named is no ACCOUNT/CONTAINER.
    """
    if inbox is None:
        text = environment.get(SOURCES, "")
        if not text:
            raise InvalidInputError(
                f"--inbox names what is indexed: ACCOUNT/CONTAINER or ACCOUNT/CONTAINER/FOLDER "
                f"(or set {SOURCES})"
            )
        return parse_sources(text)[0]
    account, _, rest = inbox.partition("/")
    container, _, folder = rest.partition("/")
    if not account or not container:
        raise InvalidInputError("--inbox is ACCOUNT/CONTAINER or ACCOUNT/CONTAINER/FOLDER")
    return SourceSetting(scope="", account=account, container=container, prefix=folder)


@contextmanager
def _inbox(source: SourceSetting) -> Iterator[tuple["BlobStore", str]]:
    try:
        from indexer_core.adapters.azure.blobs import AzureBlobs
        from indexer_core.adapters.azure.clients import AzureStorage
        from indexer_core.adapters.azure.sources import folder_prefix
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "smoke needs Azure's packages: pip install 'dicom-indexer[azure]'"
        ) from error
    storage = AzureStorage(source.account)
    try:
        yield AzureBlobs(storage.container(source.container)), folder_prefix(source.prefix)
    finally:
        storage.close()
