"""The one place that decides how to sign in to a storage account: by identity or by key.

Retries. The SDK repeats reads (`READING` on the call) and nothing else: a repeated conditional
write would meet its own first success and report `PreconditionFailed`, and the caller could not
tell. A lost answer surfaces as `UnknownOutcomeError` instead, and a refused connection as
`UnavailableError`; the message in hand comes back, and with it the write.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final

from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.data.tables import TableClient, TableServiceClient
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.blob import ExponentialRetry as BlobRetry
from azure.storage.queue import ExponentialRetry as QueueRetry
from azure.storage.queue import QueueClient, QueueServiceClient

from indexer_core.adapters.azure.errors import Service, translated
from indexer_core.adapters.azure.transport import Transport
from indexer_core.errors import InvalidInputError

READING: Final[Mapping[str, Any]] = {
    "retry_total": 3,
    "retry_connect": 1,
    "retry_read": 3,
    "retry_status": 3,
}
"""Arguments of a call that only reads: repeat it when its answer is lost or says "later"."""

_WRITING: Mapping[str, Any] = {
    "retry_total": 0,
    "retry_connect": 0,
    "retry_read": 0,
    "retry_status": 0,
}
# Up to two seconds before each of them: a person may be waiting, and a message comes back anyway.
_BACKOFF: Mapping[str, Any] = {"initial_backoff": 0, "increment_base": 1, "random_jitter_range": 1}
_TABLE_BACKOFF: Mapping[str, Any] = {"retry_backoff_factor": 0.5, "retry_backoff_max": 10}
_OPTIONS: Mapping[str, Any] = {
    # An answer must never send us to another host.
    "permit_redirects": False,
    "logging_enable": False,
}
_CONNECTION_TIMEOUT_S = 10.0
_NOISY = ("azure", "urllib3", "msal")
_PARTS_OF_A_STRING = frozenset(
    {
        "accountname",
        "accountkey",
        "sharedaccesssignature",
        "blobendpoint",
        "queueendpoint",
        "tableendpoint",
    }
)
_SUFFIX = "core.windows.net"


class AzureStorage:
    """One storage account; gives out clients of its containers, queues and tables.

    Parameters
    ----------
    account
        A connection string, or the name of an account, to which this program then signs in by
        identity (`azure.identity.DefaultAzureCredential`: a managed identity in Azure, whoever is
        signed in with ``az login`` on a desk).
    credential
        Instead of the default credential.
    suffix
        The host names of another cloud than the public one end in this.
    read_timeout_s
        How long a silent connection is waited for.

    Raises
    ------
    InvalidInputError
        Neither a connection string nor the name of an account.

    Notes
    -----
    Loggers of the SDK and of its transport are set to WARNING: below that they log URLs, which
    hold file names and shared access signatures.
    """

    def __init__(
        self,
        account: str,
        *,
        credential: TokenCredential | None = None,
        suffix: str = _SUFFIX,
        read_timeout_s: float = 60.0,
    ) -> None:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._secret = account if _is_connection_string(account) else None
        if self._secret is None and not _is_account_name(account):
            # The value itself may be a misspelt secret: it is not repeated.
            raise InvalidInputError(
                "an Azure account is given as a connection string or as its name"
                " (3 to 24 lower-case letters and digits)"
            )
        self._name = "" if self._secret else account
        self._suffix = suffix
        self._given = credential
        self._read_timeout_s = read_timeout_s

    def __repr__(self) -> str:
        return f"AzureStorage({self._blobs.primary_hostname!r})"

    def container(self, name: str) -> ContainerClient:
        """A client of a container; makes no request."""
        return self._blobs.get_container_client(name)

    def queue(self, name: str) -> QueueClient:
        """A client of a queue; makes no request."""
        return self._queues.get_queue_client(name)

    def table(self, name: str) -> TableClient:
        """A client of a table; makes no request."""
        return self._tables.get_table_client(name)

    def create_container(self, name: str) -> ContainerClient:
        """Create the container where it is absent."""
        client = self.container(name)
        with translated(Service.BLOBS, writing=True), suppress(ResourceExistsError):
            client.create_container()
        return client

    def create_queue(self, name: str) -> QueueClient:
        """Create the queue where it is absent."""
        client = self.queue(name)
        with translated(Service.QUEUES, writing=True), suppress(ResourceExistsError):
            client.create_queue()
        return client

    def create_table(self, name: str) -> TableClient:
        """Create the table where it is absent, and where this program may.

        The request names no table in its address, so that a role on single tables, as Bicep gives
        it, does not reach it, although the tables are there. Whether they are, and may be used,
        the first request to one tells.
        """
        client = self.table(name)
        with translated(Service.TABLES, writing=True), suppress(ResourceExistsError):
            try:
                client.create_table()
            except HttpResponseError as error:
                if self._secret is not None or error.status_code != HTTPStatus.FORBIDDEN:
                    raise
        return client

    def soft_delete_days(self) -> int:
        """For how many days the account keeps deleted blobs; 0: it does not."""
        with translated(Service.BLOBS):
            policy = self._blobs.get_service_properties(**READING)["delete_retention_policy"]
        return int(policy.days) if policy.enabled else 0

    def close(self) -> None:
        """Close the connections that were opened."""
        for attribute in ("_blobs", "_queues", "_tables"):
            client = self.__dict__.pop(attribute, None)
            if client is not None:
                client.close()
        credential = self.__dict__.pop("_credential", None)
        if credential is not None and credential is not self._given:
            credential.close()

    @cached_property
    def _credential(self) -> TokenCredential:
        if self._given is not None:
            return self._given
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()

    @cached_property
    def _blobs(self) -> BlobServiceClient:
        options = {"retry_policy": BlobRetry(**_BACKOFF, **_WRITING)}
        client: BlobServiceClient = self._client(BlobServiceClient, "blob", options)
        return client

    @cached_property
    def _queues(self) -> QueueServiceClient:
        options = {"retry_policy": QueueRetry(**_BACKOFF, **_WRITING)}
        client: QueueServiceClient = self._client(QueueServiceClient, "queue", options)
        return client

    @cached_property
    def _tables(self) -> TableServiceClient:
        options = {**_WRITING, **_TABLE_BACKOFF}
        client: TableServiceClient = self._client(TableServiceClient, "table", options)
        return client

    def _client(self, kind: Any, part: str, retries: Mapping[str, Any]) -> Any:
        transport = Transport(
            connection_timeout_s=_CONNECTION_TIMEOUT_S, read_timeout_s=self._read_timeout_s
        )
        options = {**_OPTIONS, **retries, "transport": transport}
        if self._secret is None:
            url = f"https://{self._name}.{part}.{self._suffix}"
            place = {"endpoint": url} if part == "table" else {"account_url": url}
            return kind(**place, credential=self._credential, **options)
        try:
            return kind.from_connection_string(self._secret, **options)
        except ValueError:
            # The SDK's text may repeat a part of the string.
            raise InvalidInputError(
                f"the connection string of the Azure account does not tell its {part} endpoint"
            ) from None


def _is_connection_string(account: str) -> bool:
    names = {part.partition("=")[0].strip().lower() for part in account.split(";")}
    return "=" in account and bool(names & _PARTS_OF_A_STRING)


def _is_account_name(account: str) -> bool:
    lower = account.isascii() and account.isalnum() and account == account.lower()
    return lower and 3 <= len(account) <= 24
