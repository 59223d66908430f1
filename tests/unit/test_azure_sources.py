"""Which URLs lie in a configured container. No network: a request would fail the test."""

import socket
from urllib.parse import quote

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import ContainerClient
from hypothesis import example, given
from hypothesis import strategies as st

from indexer_core.adapters.azure.blobs import AzureBlobReader, is_addressable
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.errors import InvalidInputError
from indexer_core.sources import Sources

KEY = AzureNamedKeyCredential("acc", "a2V5")
BASE = "https://acc.blob.core.windows.net/dicom/"


def container(url="https://acc.blob.core.windows.net", name="dicom"):
    return ContainerClient(url, name, credential=KEY)


SOURCE = AzureContainerSource(container(), scope="clinic")
FOLDER = AzureContainerSource(container(), scope="folder", prefix="/a b/inbox")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a request was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (BASE + "a/b.dcm", "a/b.dcm"),
        (BASE + "a%20b.dcm", "a b.dcm"),
        (BASE + "a b.dcm", "a b.dcm"),
        (BASE + "a+b.dcm", "a+b.dcm"),
        (BASE + "a%2Bb.dcm", "a+b.dcm"),
        (BASE + "gr%C3%BCn/%E6%97%A5.dcm", "grün/日.dcm"),
        (BASE + "grün/日.dcm", "grün/日.dcm"),
        (BASE + "a%2Fb.dcm", "a/b.dcm"),
        (BASE + "100%25.dcm", "100%.dcm"),
        (BASE + "%2525", "%25"),
        (BASE + "a%3Fb%23c", "a?b#c"),
        (BASE + "a//b", "a//b"),
        (BASE + "a@b:c", "a@b:c"),
        ("HTTPS://ACC.Blob.Core.Windows.NET/dicom/x", "x"),
        ("https://acc.dfs.core.windows.net/dicom/a/b.dcm", "a/b.dcm"),
    ],
)
def test_url_in_the_container_names_its_blob(url, name):
    located = SOURCE.locate(url)
    assert (located.name, located.scope) == (name, "clinic")
    assert located.url == BASE + quote(name)
    assert isinstance(located.store, AzureBlobReader)


FOREIGN = (
    "",
    "x",
    "dicom/x",
    "https://acc.blob.core.windows.net",
    "https://acc.blob.core.windows.net/",
    "https://acc.blob.core.windows.net/dicom",
    BASE,
    "http://acc.blob.core.windows.net/dicom/x",
    "ftp://acc.blob.core.windows.net/dicom/x",
    "file:///dicom/x",
    "//acc.blob.core.windows.net/dicom/x",
    "https:/acc.blob.core.windows.net/dicom/x",
    "https:///dicom/x",
    "https://other.blob.core.windows.net/dicom/x",
    "https://acc.blob.core.windows.net.evil.example/dicom/x",
    "https://evil.example/acc.blob.core.windows.net/dicom/x",
    "https://acc.blob.core.windows.net@evil.example/dicom/x",
    "https://evil.example@acc.blob.core.windows.net/dicom/x",
    "https://u:p@acc.blob.core.windows.net/dicom/x",
    "https://evil.example\\@acc.blob.core.windows.net/dicom/x",
    "https://acc.blob.core.windows.net:443/dicom/x",
    "https://acc.blob.core.windows.net:8443/dicom/x",
    "https://acc.blob.core.windows.net:/dicom/x",
    "https://acc.blob.core.windows.net./dicom/x",
    "https://acc%2Eblob.core.windows.net/dicom/x",
    "https://acc.blob%2Ecore.windows.net/dicom/x",
    "https://20.60.1.2/dicom/x",
    "https://[::1]/dicom/x",
    "https://127.0.0.1:10000/acc/dicom/x",
    "https://acc-secondary.blob.core.windows.net/dicom/x",
    "https://acc.queue.core.windows.net/dicom/x",
    "https://acc.file.core.windows.net/dicom/x",
    "https://dfs.core.windows.net/dicom/x",
    "https://acc.blob.core.windows.net/other/x",
    "https://acc.blob.core.windows.net/dicom2/x",
    "https://acc.blob.core.windows.net/DICOM/x",
    "https://acc.blob.core.windows.net//dicom/x",
    "https://acc.blob.core.windows.net/%64icom/x",
    "https://acc.blob.core.windows.net/dicom%2Fx",
    "https://acc.blob.core.windows.net/dicom%2F..%2Fother/x",
    "https://acc.blob.core.windows.net/other/../dicom/x",
    BASE + "../other/x",
    BASE + "..%2Fother%2Fx",
    BASE + "%2E%2E/other/x",
    BASE + "a/%2e%2e/%2e%2e/other/x",
    BASE + "./x",
    BASE + "a%00b",
    BASE + "a\nb",
    BASE + "a%0D%0AHost:evil",
    BASE + "%ff",
    BASE + "\ud800",
    BASE + "x?snapshot=2026-01-01T00:00:00Z",
    BASE + "x?sv=1&sig=abc",
    BASE + "x#fragment",
    BASE + "x" * 1025,
    BASE + "%41" * 10_000,
    " " + BASE + "x",
    "https://acc.blob.core.windows.net /dicom/x",
    "https://\u0430cc.blob.core.windows.net/dicom/x",
)


@pytest.mark.parametrize("url", FOREIGN)
def test_url_of_anything_else_is_foreign(url):
    assert SOURCE.locate(url) is None
    assert FOLDER.locate(url) is None


def test_folder_holds_what_lies_in_it_and_nothing_beside():
    assert FOLDER.locate(BASE + "a%20b/inbox/x").name == "a b/inbox/x"
    assert FOLDER.locate(BASE + "a b/inbox/c/x").scope == "folder"
    for name in ("a b/inbox2/x", "a b/inbox", "a b/x", "inbox/x", "a%2520b/inbox/x", "A B/inbox/x"):
        assert FOLDER.locate(BASE + name) is None


def test_first_source_that_holds_a_url_gives_its_scope():
    sources = Sources([FOLDER, SOURCE])
    assert sources.locate(BASE + "a%20b/inbox/x").scope == "folder"
    assert sources.locate(BASE + "x").scope == "clinic"
    assert sources.locate("https://evil.example/dicom/x") is None


def test_emulator_of_this_machine_may_be_reached_by_http():
    here = AzureContainerSource(container("http://127.0.0.1:10000/dev"), scope="here")
    assert here.locate("http://127.0.0.1:10000/dev/dicom/a%20b").name == "a b"
    for url in (
        "http://127.0.0.1:10001/dev/dicom/x",
        "http://127.0.0.1:10000/other/dicom/x",
        "http://localhost:10000/dev/dicom/x",
        "http://127.0.0.1:10000/dicom/x",
        "https://127.0.0.1:10000/dev/dicom/x",
        BASE + "x",
    ):
        assert here.locate(url) is None
    for url in ("http://acc.blob.core.windows.net", "http://10.0.0.1:10000/dev"):
        with pytest.raises(InvalidInputError, match="https"):
            AzureContainerSource(container(url), scope="there")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
@example("a/../b")
@example("a?b#c%d")
def test_canonical_url_leads_back_to_the_name(name):
    located = SOURCE.locate(SOURCE.url_of(name))
    if not is_addressable(name):
        assert located is None
        return
    assert located.name == name
    assert SOURCE.locate(located.url) == located
    assert SOURCE.locate(located.url.replace(".blob.", ".dfs.", 1)) == located
    assert SOURCE.locate(BASE + quote(name, safe="")) == located


@given(st.text(st.sampled_from("acb.@:/\\%2Fef?#dikomnwsthp+ ü"), max_size=50), st.integers(0, 45))
def test_no_insertion_into_a_url_leaves_the_container(junk, at):
    url = BASE + "x"
    located = SOURCE.locate(url[:at] + junk + url[at:])
    if located is not None:
        assert located.url.startswith(BASE)
        assert (url[:at] + junk + url[at:]).lower().startswith(BASE) or junk == ""
        assert ".." not in located.name.split("/")
