"""Blobs of one container, read as they are, or as our own versioned store."""

from collections.abc import Iterator
from hashlib import md5
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, ContainerClient, ContentSettings
from azure.storage.blob import BlobProperties as AzureProperties

from indexer_core.adapters.azure.clients import READING
from indexer_core.adapters.azure.errors import Service, code_of, is_absent, translated
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.ports import (
    BlobEntry,
    BlobProperties,
    BlobRange,
    PreconditionFailed,
    WriteResult,
    Written,
)

MAX_NAME_CHARACTERS = 1024
_RANGE_NOT_SATISFIABLE = 416
# 409 and 412 have other reasons too (a lease, an immutability policy): those are no lost race.
_LOST_RACES = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", ""})


def _etag(quoted: str | None) -> str:
    # Quoted in headers, bare in listings and in some events.
    if not quoted:
        raise UnavailableError(f"{Service.BLOBS} gave no version of a blob")
    return quoted.strip('"')


def _condition(etag: str | None) -> dict[str, Any]:
    if etag is None:
        return {}
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def properties_of(found: AzureProperties) -> BlobProperties:
    """What the SDK says of a blob, as ours."""
    digest = found.content_settings.content_md5
    return BlobProperties(
        etag=_etag(found.etag),
        size_bytes=found.size,
        modified_s=found.last_modified.timestamp(),
        content_digest=f"md5:{bytes(digest).hex()}" if digest else None,
        # The tier stays "Archive" while the blob is being rehydrated.
        archived=str(found.blob_tier or "").lower() == "archive",
    )


def is_folder(found: AzureProperties) -> bool:
    """Whether a listed blob is a directory of an account with a hierarchical namespace."""
    return (found.metadata or {}).get("hdi_isfolder") == "true"


def is_addressable(name: str) -> bool:
    """Whether a request for this name asks for this blob.

    HTTP clients resolve ``.`` and ``..`` within a path, even into another container; control
    characters and lone surrogates do not survive at all.
    """
    dotted = any(part in {".", ".."} for part in name.split("/"))
    odd = any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in name)
    return 0 < len(name) <= MAX_NAME_CHARACTERS and not dotted and not odd


class AzureBlobReader:
    """Implements `indexer_core.ports.BlobReader` on a container that others write to.

    Parameters
    ----------
    container
        From `indexer_core.adapters.azure.clients.AzureStorage`, whose retries fit.

    Raises
    ------
    ArchivedBlobError
        From `get` and `get_range`: the blob must be rehydrated first.
    """

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def properties(self, name: str) -> BlobProperties | None:
        """Properties, or None when there is no such blob."""
        found = self._properties_if(name, None)
        assert not isinstance(found, PreconditionFailed)  # there is no condition
        return found

    def get(self, name: str) -> BlobRange | None:
        """The whole blob, or None when there is no such blob."""
        found = self._download(name, {})
        assert not isinstance(found, PreconditionFailed)  # there is no condition
        return found

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        """Bytes [offset, offset + length), shorter at the end of the blob, empty past it.

        Returns None when there is no such blob, PreconditionFailed when its etag is not `if_match`.
        """
        found = self._range(name, offset, length, if_match)
        # Of an absent blob, too, a service may say that its version differs.
        if isinstance(found, PreconditionFailed) and self.properties(name) is None:
            return None
        return found

    def _full(self, name: str) -> str:
        if not is_addressable(name):
            raise InvalidInputError("a blob of this name cannot be asked for")
        return name

    def _blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(self._full(name))

    def _range(
        self, name: str, offset: int, length: int, if_match: str | None
    ) -> BlobRange | PreconditionFailed | None:
        if length:
            wanted = {"offset": offset, "length": length, **_condition(if_match)}
            try:
                return self._download(name, wanted)
            except _PastTheEndError:
                pass
        found = self._properties_if(name, if_match)
        if not isinstance(found, BlobProperties):
            return found
        return BlobRange(data=b"", etag=found.etag, size_bytes=found.size_bytes)

    def _properties_if(
        self, name: str, if_match: str | None
    ) -> BlobProperties | PreconditionFailed | None:
        blob = self._blob(name)
        with translated(Service.BLOBS):
            try:
                return properties_of(blob.get_blob_properties(**_condition(if_match), **READING))
            except ResourceNotFoundError as exc:
                if is_absent(exc):
                    return None
                raise
            except HttpResponseError as exc:
                if exc.status_code == 412:
                    return PreconditionFailed()
                raise

    def _download(self, name: str, wanted: dict[str, Any]) -> BlobRange | PreconditionFailed | None:
        blob = self._blob(name)
        with translated(Service.BLOBS):
            try:
                stream = blob.download_blob(**wanted, **READING)
                data = stream.readall()
            except ResourceNotFoundError as exc:
                if is_absent(exc):
                    return None
                raise
            except ResourceModifiedError:
                return PreconditionFailed()
            except HttpResponseError as exc:
                if exc.status_code == _RANGE_NOT_SATISFIABLE:
                    raise _PastTheEndError from None
                raise
        found = stream.properties
        size_bytes = _whole_size(found)
        expected = min(wanted.get("length", size_bytes), size_bytes - wanted.get("offset", 0))
        if len(data) != expected:
            raise UnavailableError(f"{Service.BLOBS} answered with a part of a blob")
        return BlobRange(data=data, etag=_etag(found.etag), size_bytes=size_bytes)


class _PastTheEndError(Exception):
    """The range begins at or after the end of the blob."""


def _whole_size(found: AzureProperties) -> int:
    # The SDK sets `size` to that of the range; "bytes 0-3/10" tells the whole.
    _, _, whole = (found.content_range or "").rpartition("/")
    return int(whole) if whole.isdigit() else found.size


class AzureBlobs(AzureBlobReader):
    """Implements `indexer_core.ports.BlobStore` on a container, or on a prefix of one.

    Parameters
    ----------
    container
        As for `AzureBlobReader`.
    prefix
        What every name begins with in the container; a relative path, or nothing.
    """

    def __init__(self, container: ContainerClient, prefix: str = "") -> None:
        super().__init__(container)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        """Create the blob durably; PreconditionFailed when one exists."""
        return self._put(name, data, overwrite=False)

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        """Replace the blob when its etag is still `etag`; PreconditionFailed otherwise."""
        return self._put(name, data, overwrite=True, **_condition(etag))

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Entries whose name starts with `prefix`, in name order."""
        with translated(Service.BLOBS):
            # Directories of accounts with a hierarchical namespace are told by their metadata.
            for found in self._container.list_blobs(
                name_starts_with=self._prefix + prefix, include=["metadata"], **READING
            ):
                if not is_folder(found):
                    name = found.name.removeprefix(self._prefix)
                    yield BlobEntry(name=name, properties=properties_of(found))

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        """Delete; False when it was absent or its etag differs."""
        blob = self._blob(name)
        with translated(Service.BLOBS, writing=True):
            try:
                blob.delete_blob(delete_snapshots="include", **_condition(if_match))
            except ResourceNotFoundError as exc:
                if is_absent(exc):
                    return False
                raise
            except ResourceModifiedError:
                return False
        return True

    def _full(self, name: str) -> str:
        parts = name.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\\" in name:
            raise InvalidInputError("a blob name must be a relative path of plain components")
        return super()._full(self._prefix + name)

    def _put(self, name: str, data: bytes, **condition: Any) -> WriteResult:
        blob = self._blob(name)
        # Azure keeps no digest of blobs written in blocks unless it is told one.
        digest = bytearray(md5(data, usedforsecurity=False).digest())
        with translated(Service.BLOBS, writing=True):
            try:
                stored = blob.upload_blob(
                    data, content_settings=ContentSettings(content_md5=digest), **condition
                )
            except ResourceNotFoundError as exc:
                if is_absent(exc):
                    return PreconditionFailed()
                raise
            except (ResourceExistsError, ResourceModifiedError) as exc:
                if code_of(exc) in _LOST_RACES:
                    return PreconditionFailed()
                raise
        return Written(etag=_etag(stored["etag"]))
