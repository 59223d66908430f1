"""Which way the one factory signs in. No network."""

import traceback

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableClient

from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.errors import IndexerError, InvalidInputError

KEY = "UExBTlRFRC1LRVk="
FULL = (
    f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={KEY};"
    "EndpointSuffix=core.windows.net"
)


class Credential:
    closed = False

    def get_token(self, *scopes, **_):
        return AccessToken("token", 2**31)

    def close(self):
        self.closed = True


def test_connection_string_gives_clients_of_its_account():
    storage = AzureStorage(FULL)
    assert storage.container("c").url == "https://acc.blob.core.windows.net/c"
    assert storage.queue("q-1").url == "https://acc.queue.core.windows.net/q-1"
    assert storage.table("t").url == "https://acc.table.core.windows.net"
    storage.close()


def test_name_of_an_account_gives_clients_that_sign_in_by_identity():
    credential = Credential()
    storage = AzureStorage("acc", credential=credential, suffix="core.chinacloudapi.cn")
    assert storage.container("c").url == "https://acc.blob.core.chinacloudapi.cn/c"
    assert storage.container("c").credential is credential
    assert storage.queue("q-1").credential is credential
    assert storage.table("t").credential is credential
    storage.close()
    assert not credential.closed  # whoever gave it closes it


def test_default_identity_is_made_once_and_only_when_needed():
    storage = AzureStorage("acc")
    assert "_credential" not in vars(storage)
    made = storage.container("c").credential
    assert type(made).__name__ == "DefaultAzureCredential"
    assert storage.queue("q").credential is made
    storage.close()
    assert "_credential" not in vars(storage)


@pytest.mark.parametrize(
    "account",
    [
        "",
        "ab",
        "UPPER",
        "with space",
        "https://acc.blob.core.windows.net",
        "a" * 25,
        "ü" * 5,
        KEY,
        "Nonsense=1;Other=2",
    ],
)
def test_anything_else_is_refused_without_being_repeated(account):
    with pytest.raises(InvalidInputError) as caught:
        AzureStorage(account)
    assert not account or account not in str(caught.value)


@pytest.mark.parametrize(
    "string",
    [f"AccountKey={KEY}", f"AccountName=acc;{KEY}", f"AccountName=acc;AccountKey={KEY};;=x"],
)
def test_broken_connection_string_is_refused_without_being_repeated(string):
    with pytest.raises(InvalidInputError) as caught:
        _open(string)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def _open(string):
    AzureStorage(string).container("c")
    AzureStorage(string).table("c")


def test_storage_shows_its_host_and_nothing_else():
    assert repr(AzureStorage(FULL)) == "AzureStorage('acc.blob.core.windows.net')"


class _Refusal:
    """An answer of the service, as the SDK's errors hold it."""

    reason = "refused"

    def __init__(self, status_code):
        self.status_code = status_code
        self.headers = {"x-ms-error-code": "AuthorizationPermissionMismatch"}


def test_who_may_use_single_tables_and_make_none_goes_on_with_those_there_are(monkeypatch):
    """Bicep gives roles on tables; a request that makes one is above them."""

    def refused(self):
        raise HttpResponseError(response=_Refusal(403))

    monkeypatch.setattr(TableClient, "create_table", refused)
    storage = AzureStorage("acc", credential=Credential())
    assert storage.create_table("t").url == "https://acc.table.core.windows.net"
    # With a key a refusal is a wrong key, and is told at once.
    with pytest.raises(IndexerError):
        AzureStorage(FULL).create_table("t")


def test_no_other_error_of_making_a_table_is_passed_over(monkeypatch):
    def failed(self):
        raise HttpResponseError(response=_Refusal(500))

    monkeypatch.setattr(TableClient, "create_table", failed)
    with pytest.raises(IndexerError):
        AzureStorage("acc", credential=Credential()).create_table("t")
