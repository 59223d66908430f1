"""Keys, signatures and file names leave the Azure adapters by no log, no text and no exception."""

import logging
import traceback
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from indexer_core.adapters.azure.blobs import AzureBlobs
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.tables import AzureRows
from indexer_core.errors import IndexerError, UnavailableError
from tests.support.azurite import ACCOUNT, fresh_name, missing, running_azurite

pytestmark = pytest.mark.azurite

NAME = "DOE^JANE-19700101"
BODY = "PLANTED-BODY"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


def signature(azurite):
    sas = generate_account_sas(
        ACCOUNT,
        azurite.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions.from_string("rwdlacup"),
        datetime.now(UTC) + timedelta(days=1),
        services="bqt",
    )
    return sas, sas.partition("sig=")[2].partition("&")[0]


def with_signature(azurite, sas):
    ends = "".join(
        f"{service.title()}Endpoint={azurite.endpoint(service)};"
        for service in ("blob", "queue", "table")
    )
    return f"{ends}SharedAccessSignature={sas}"


def use(storage):
    """Use everything, well and badly; give what was raised."""
    raised = []

    def attempt(call):
        try:
            return call()
        except IndexerError as error:
            raised.append(error)

    blobs = AzureBlobs(
        attempt(lambda: storage.create_container(fresh_name("blobs"))) or storage.container("none")
    )
    queue = AzureQueue(
        attempt(lambda: storage.create_queue(fresh_name("queue"))) or storage.queue("none")
    )
    rows = AzureRows(
        attempt(lambda: storage.create_table(fresh_name("rows"))) or storage.table("none")
    )
    nowhere = AzureBlobs(storage.container(fresh_name("none")))
    for call in (
        lambda: blobs.put_if_absent(NAME, BODY.encode()),
        lambda: blobs.get(NAME),
        lambda: blobs.get_range(NAME, 0, 3, if_match="0x1"),
        lambda: list(blobs.list()),
        lambda: nowhere.get(NAME),
        lambda: nowhere.put_if_absent(NAME, b""),
        lambda: queue.send(BODY),
        lambda: queue.receive(1, 30),
        lambda: queue.send(BODY * 10_000),
        lambda: rows.insert(NAME, NAME, {"a": BODY}),
        lambda: rows.get(NAME, NAME),
        lambda: rows.insert(NAME, "x" * 2000, {}),
        lambda: list(rows.scan()),
    ):
        attempt(call)
    return raised


def texts(raised, caplog, *objects):
    told = ["".join(traceback.format_exception(error)) for error in raised]
    told += [str(error) + repr(error) for error in raised]
    told += [repr(thing) + str(thing) for thing in objects]
    told += [record.getMessage() + str(record.exc_info) for record in caplog.records]
    return "\n".join(told)


@pytest.mark.parametrize("state", ["up", "refusing", "down"])
@pytest.mark.parametrize("how", ["key", "signature"])
def test_nothing_secret_is_told(azurite, caplog, how, state):
    sas, signed = signature(azurite)
    connection = azurite.connection_string if how == "key" else with_signature(azurite, sas)
    secrets = {azurite.key, signed, NAME, BODY, "DOE%5EJANE"}
    if state == "refusing":
        other = "c2VjcmV0LXRoYXQtaXMtd3Jvbmc="
        connection = connection.replace(azurite.key, other).replace(signed, "WRONGSIGNATURE")
        secrets |= {other, "WRONGSIGNATURE"}
    caplog.set_level(logging.DEBUG)
    storage = AzureStorage(connection)
    if state == "down":
        azurite.kill()
    try:
        raised = use(storage)
    finally:
        if state == "down":
            azurite.start()
    source = AzureContainerSource(storage.container("inbox"), scope="s")
    told = texts(
        raised,
        caplog,
        storage,
        AzureRows(storage.table("a1b2")),
        source,
        source.locate(source.url_of("x")),
    )
    storage.close()
    assert raised
    if state != "up":
        assert len(raised) > 8
        assert any(isinstance(error, UnavailableError) for error in raised)
    for secret in secrets:
        assert secret not in told
