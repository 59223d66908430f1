"""The Azure adapters in trouble: lost answers, throttling, cut bodies, a killed server."""

import gc
from contextlib import suppress
from dataclasses import replace

import pytest

from indexer_core.adapters.azure.blobs import AzureBlobs
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.tables import AzureRows
from indexer_core.errors import UnavailableError, UnknownOutcomeError
from indexer_core.ports import PreconditionFailed, Written
from tests.support.azurite import Fault, FaultyProxy, fresh_name, missing, running_azurite

pytestmark = pytest.mark.azurite


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def proxied(azurite):
    """A storage account of which one service is reached through a faulty proxy."""
    opened = []

    def through(service):
        proxy = FaultyProxy(azurite, service)
        storage = AzureStorage(proxy.connection_string)
        opened.extend([storage, proxy])
        return storage, proxy

    yield through
    for part in opened:
        part.close()


@pytest.fixture
def blobs(proxied):
    storage, proxy = proxied("blob")
    return AzureBlobs(storage.create_container(fresh_name("blobs"))), proxy


@pytest.fixture
def queue(proxied):
    storage, proxy = proxied("queue")
    return AzureQueue(storage.create_queue(fresh_name("queue"))), proxy


@pytest.fixture
def rows(proxied):
    storage, proxy = proxied("table")
    return AzureRows(storage.create_table(fresh_name("rows"))), proxy


def test_lost_answer_to_a_creation_is_unknown_and_not_repeated(blobs):
    store, proxy = blobs
    proxy.faults.append(Fault("PUT", "/a", lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        store.put_if_absent("a", b"mine")
    assert proxy.count("PUT", "/a") == 1
    assert store.get("a").data == b"mine"


def test_lost_answer_to_a_replacement_is_unknown_and_not_repeated(blobs):
    store, proxy = blobs
    etag = store.put_if_absent("a", b"1").etag
    proxy.faults.append(Fault("PUT", "/a", lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        store.put_if_match("a", b"2", etag)
    assert proxy.count("PUT", "/a") == 2
    assert store.get("a").data == b"2"
    assert store.put_if_match("a", b"3", etag) == PreconditionFailed()


def test_lost_answer_to_a_deletion_is_unknown(blobs):
    store, proxy = blobs
    store.put_if_absent("a", b"1")
    proxy.faults.append(Fault("DELETE", "/a", lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        store.delete("a")
    assert store.get("a") is None


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalError", UnknownOutcomeError),
        (500, "OperationTimedOut", UnknownOutcomeError),
        (503, "ServerBusy", UnavailableError),
        (429, "TooManyRequests", UnavailableError),
        (403, "AuthorizationFailure", UnavailableError),
        (409, "ContainerBeingDeleted", UnavailableError),
    ],
)
def test_write_that_azure_does_not_take_is_not_repeated(blobs, rows, queue, status, code, expected):
    for (_, proxy), method, write in (
        (blobs, "PUT", lambda: blobs[0].put_if_absent("a", b"1")),
        (rows, "POST", lambda: rows[0].insert("p", "k", {})),
        (queue, "POST", lambda: queue[0].send("a")),
    ):
        n_before = len(proxy.requests)
        proxy.faults.append(Fault(method, status=status, code=code, headers={"Retry-After": "1"}))
        with pytest.raises(expected):
            write()
        assert len(proxy.requests) == n_before + 1
    assert isinstance(blobs[0].put_if_absent("a", b"1"), Written)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "/a", status=503, code="ServerBusy"),
        Fault("GET", "/a", status=500, code="InternalError"),
        Fault("GET", "/a", lose_answer=True),
        Fault("GET", "/a", cut_body=True),
    ],
)
def test_read_is_repeated_until_it_is_whole(blobs, fault):
    store, proxy = blobs
    etag = store.put_if_absent("a", b"0123456789").etag
    proxy.faults.append(fault)
    assert store.get_range("a", 2, 6, if_match=etag).data == b"234567"
    assert not proxy.faults


def test_read_that_never_succeeds_is_unavailable(blobs):
    store, proxy = blobs
    store.put_if_absent("a", b"0123456789")
    for _ in range(20):
        proxy.faults.append(Fault("GET", "/a", cut_body=True))
    with pytest.raises(UnavailableError):
        store.get_range("a", 0, 6)
    assert 20 - len(proxy.faults) <= 10


def test_listing_survives_a_busy_answer(blobs, rows):
    store, proxy = blobs
    store.put_if_absent("a", b"")
    proxy.faults.append(Fault("GET", "comp=list", status=503, code="ServerBusy"))
    assert [entry.name for entry in store.list()] == ["a"]
    table, table_proxy = rows
    table.insert("p", "k", {})
    table_proxy.faults.append(Fault("GET", status=503, code="ServerBusy"))
    assert [row.key for row in table.query("p")] == ["k"]
    table_proxy.faults.append(Fault("GET", lose_answer=True))
    assert table.get("p", "k") is not None


def test_answer_that_sends_elsewhere_is_not_followed(blobs):
    store, proxy = blobs
    store.put_if_absent("a", b"1")
    elsewhere = {"Location": f"http://127.0.0.1:{proxy._server.server_address[1]}/elsewhere"}
    for status in (301, 302, 307, 308):
        proxy.faults.append(Fault("GET", "/a", status=status, headers=elsewhere))
        with pytest.raises(UnavailableError):
            store.get("a")
    assert proxy.count("GET", "elsewhere") == 0


def test_silence_after_a_write_leaves_its_outcome_unknown(azurite):
    proxy = FaultyProxy(azurite, "blob")
    storage = AzureStorage(proxy.connection_string, read_timeout_s=0.5)
    store = AzureBlobs(storage.create_container(fresh_name("blobs")))
    proxy.faults.append(Fault("PUT", "/a", hang=True))
    with pytest.raises(UnknownOutcomeError):
        store.put_if_absent("a", b"1")
    assert proxy.count("PUT", "/a") == 1
    assert store.get("a").data == b"1"
    storage.close()
    proxy.close()


@pytest.mark.parametrize("operation", ["insert", "merge", "delete"])
def test_lost_answer_to_a_row_is_unknown_and_not_repeated(rows, operation):
    table, proxy = rows
    table.insert("p", "k", {"a": 1})
    row = table.get("p", "k")
    methods, write = {
        "insert": ("POST", lambda: table.insert("p", "k2", {})),
        "merge": ("PATCH", lambda: table.merge(row, {"a": 2})),
        "delete": ("DELETE", lambda: table.delete(row)),
    }[operation]
    proxy.requests.clear()
    proxy.faults.append(Fault(methods, lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        write()
    assert len(proxy.requests) == 1
    assert {
        "insert": table.get("p", "k2") is not None,
        "merge": (table.get("p", "k") or row).values["a"] == 2,
        "delete": table.get("p", "k") is None,
    }[operation]


def test_answer_that_breaks_off_leaves_the_outcome_of_a_write_unknown(rows, queue):
    table, proxy = rows
    proxy.faults.append(Fault("POST", cut_body=True))
    with pytest.raises(UnknownOutcomeError):
        table.insert("p", "k", {})
    assert table.get("p", "k") is not None
    work, proxy = queue
    proxy.faults.append(Fault("POST", cut_body=True))
    with pytest.raises(UnknownOutcomeError):
        work.send("a")
    assert work.length() == 1


def test_lost_answers_of_a_queue_are_unknown_and_nothing_is_lost(queue, azurite):
    work, proxy = queue
    proxy.faults.append(Fault("POST", lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        work.send("a")
    assert work.length() == 1
    proxy.faults.append(Fault("GET", "/messages", lose_answer=True))
    with pytest.raises(UnavailableError):
        work.receive(1, 30)
    assert proxy.count("GET", "/messages") == 1
    azurite.advance(31)
    (message,) = work.receive(1, 30)
    assert (message.body, message.dequeue_count) == ("a", 2)
    proxy.faults.append(Fault("PUT", lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        work.extend(message, 30)
    # The extension took place: the receipt in hand is no longer the one.
    assert work.delete(message) is False
    azurite.advance(31)
    (message,) = work.receive(1, 30)
    proxy.faults.append(Fault("DELETE", lose_answer=True))
    with pytest.raises(UnknownOutcomeError):
        work.delete(message)
    assert work.delete(message) is False
    assert work.length() == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "/a", status=500, code="InternalError"),
        Fault("GET", "/a", status=404, code="BlobNotFound"),
        Fault("GET", "/a", status=302, headers={"Location": "http://127.0.0.1:9/"}),
        Fault("GET", "/a", cut_body=True),
        Fault("GET", "/a", lose_answer=True),
    ],
    ids=["error", "absent", "redirect", "cut", "lost"],
)
def test_account_that_is_closed_leaves_no_connection_open_whatever_was_answered(azurite, fault):
    proxy = FaultyProxy(azurite, "blob")
    storage = AzureStorage(proxy.connection_string)
    store = AzureBlobs(storage.create_container(fresh_name("blobs")))
    store.put_if_absent("a", b"0123456789")
    proxy.faults += [replace(fault) for _ in range(20)]
    gc.disable()  # or it might close what we leave
    try:
        with suppress(UnavailableError):
            store.get("a")
        storage.close()
        assert proxy.connections.get_closed()
    finally:
        gc.enable()
        proxy.close()


def test_everything_is_unavailable_while_azurite_is_down_and_all_there_afterwards(azurite):
    storage = AzureStorage(azurite.connection_string)
    blobs = AzureBlobs(storage.create_container(fresh_name("blobs")))
    queue = AzureQueue(storage.create_queue(fresh_name("queue")))
    rows = AzureRows(storage.create_table(fresh_name("rows")))
    etag = blobs.put_if_absent("a", b"1").etag
    rows.insert("p", "k", {"a": 1})
    before = rows.get("p", "k")
    queue.send("a")
    azurite.kill()
    for call in (
        lambda: blobs.get("a"),
        lambda: blobs.properties("a"),
        lambda: list(blobs.list()),
        lambda: blobs.put_if_match("a", b"2", etag),
        lambda: rows.get("p", "k"),
        lambda: rows.merge(before, {"a": 2}),
        lambda: queue.send("b"),
        lambda: queue.receive(1, 1),
    ):
        # Not sent at all, or sent on a connection that is dead by now.
        with pytest.raises((UnavailableError, UnknownOutcomeError)):
            call()
    azurite.start()
    assert blobs.get("a").data == b"1"
    assert rows.get("p", "k") == before
    assert isinstance(rows.merge(before, {"a": 2}), Written)
    assert [message.body for message in queue.receive(5, 30)] == ["a"]
    storage.close()
