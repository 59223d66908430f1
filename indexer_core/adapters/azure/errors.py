"""What Azure's exceptions mean to us.

Azure's own texts name URLs, and with them blob paths and shared access signatures. So ours are
raised ``from None`` and carry only the status, Azure's error code and what to do.

Expected outcomes (absent, precondition failed, stale receipt) never arrive here: the adapters turn
them into values before.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, StrEnum

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    DeserializationError,
    HttpResponseError,
    IncompleteReadError,
    ODataV4Error,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ResourceNotModifiedError,
    ResponseNotReadError,
    SerializationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
    StreamClosedError,
    StreamConsumedError,
    TooManyRedirectsError,
)
from requests.exceptions import SSLError

from indexer_core.errors import (
    IndexerError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)


class Service(StrEnum):
    """The parts of a storage account, as people know them."""

    BLOBS = "blob storage"
    QUEUES = "queue storage"
    TABLES = "table storage"
    EVENTS = "Event Grid topic"


_ROLES = {
    Service.BLOBS: "Storage Blob Data Contributor (Reader suffices for users' files)",
    Service.QUEUES: "Storage Queue Data Contributor",
    Service.TABLES: "Storage Table Data Contributor",
    Service.EVENTS: "EventGrid Data Sender",
}


class ArchivedBlobError(InvalidInputError):
    """The blob lies in the archive tier: unreadable until it is rehydrated, which is an event."""


class Meaning(Enum):
    """What one of Azure's exception classes says about a request."""

    NOT_SENT = "it never left this machine"
    LOST = "it was sent; the answer did not arrive or cannot be read"
    REFUSED = "signing in failed"
    BY_STATUS = "Azure answered; the status tells"
    BUG = "this program misuses the SDK"


MEANINGS: Mapping[type[Exception], Meaning] = {
    ServiceRequestError: Meaning.NOT_SENT,
    ServiceRequestTimeoutError: Meaning.NOT_SENT,
    ServiceResponseError: Meaning.LOST,
    ServiceResponseTimeoutError: Meaning.LOST,
    IncompleteReadError: Meaning.LOST,
    DecodeError: Meaning.LOST,
    DeserializationError: Meaning.LOST,
    ClientAuthenticationError: Meaning.REFUSED,
    HttpResponseError: Meaning.BY_STATUS,
    ResourceExistsError: Meaning.BY_STATUS,
    ResourceNotFoundError: Meaning.BY_STATUS,
    ResourceModifiedError: Meaning.BY_STATUS,
    ResourceNotModifiedError: Meaning.BY_STATUS,
    TooManyRedirectsError: Meaning.BY_STATUS,
    ODataV4Error: Meaning.BY_STATUS,
    SerializationError: Meaning.BUG,
    StreamConsumedError: Meaning.BUG,
    StreamClosedError: Meaning.BUG,
    ResponseNotReadError: Meaning.BUG,
}

_NO_PLACE = frozenset({"ContainerNotFound", "QueueNotFound", "TableNotFound", "AccountNotFound"})
_REFUSED = frozenset({401, 403})
_TOO_LARGE = frozenset(
    {
        "EntityTooLarge",
        "MessageTooLarge",
        "PropertyValueTooLarge",
        "RequestBodyTooLarge",
        "TooManyProperties",
    }
)
_TRY_LATER = frozenset({408, 429, 503})
_INVALID = frozenset({400, 405, 411, 413, 414, 415, 422})


def code_of(exc: HttpResponseError) -> str:
    """Azure's error code, or an empty text. A code is one of Azure's fixed words."""
    code = getattr(exc, "error_code", None)
    if code is None:
        code = getattr(exc.response, "headers", {}).get("x-ms-error-code")
    code = str(getattr(code, "value", code) or "")
    return code if code.isalnum() else ""


def is_absent(exc: ResourceNotFoundError) -> bool:
    """Whether the blob, message or row is absent, as opposed to its container, queue or table.

    A container that somebody forgot to create must not look like a thousand deleted files.
    """
    return code_of(exc) not in _NO_PLACE


def meaning_of(kind: type[BaseException]) -> Meaning:
    """What an exception class of the SDK says, by its nearest class that we know."""
    for base in kind.__mro__:
        if base in MEANINGS:
            return MEANINGS[base]
    return Meaning.LOST


def error_of(exc: Exception, service: Service, *, writing: bool) -> IndexerError | None:
    """Ours for a condition of the outside world, None for a bug."""
    match _meaning(exc):
        case Meaning.NOT_SENT:
            return UnavailableError(f"{service} cannot be reached: check the network and its name")
        case Meaning.LOST:
            return _lost(service, writing=writing)
        case Meaning.REFUSED:
            return _refused(service, exc)
        case Meaning.BY_STATUS:
            assert isinstance(exc, HttpResponseError)
            return _by_status(exc, service, writing=writing)
        case Meaning.BUG:
            return None


@contextmanager
def translated(service: Service, *, writing: bool = False) -> Iterator[None]:
    """Turn Azure's exceptions into ours; `writing` where the request changes something."""
    try:
        yield
    except (AzureError, SerializationError, DeserializationError) as exc:
        error = error_of(exc, service, writing=writing)
        if error is None:
            raise
        raise error from None
    except AttributeError as exc:
        # Inserting a row, azure-data-tables asks even an answer that broke off for its headers.
        broken_off = exc.__context__
        if not isinstance(broken_off, HttpResponseError) or broken_off.response is not None:
            raise
        raise _lost(service, writing=writing) from None


def _meaning(exc: Exception) -> Meaning:
    # The SDK counts every failure of TLS as "not sent"; the connection may have been in use.
    if isinstance(getattr(exc, "inner_exception", None), SSLError):
        return Meaning.LOST
    return meaning_of(type(exc))


def _by_status(exc: HttpResponseError, service: Service, *, writing: bool) -> IndexerError:
    status, code = exc.status_code or 0, code_of(exc)
    answer = f"{status} {code}".strip()
    if status in _REFUSED or code == "InvalidAuthenticationInfo":
        return _refused(service, exc)
    if code == "BlobArchived":
        return ArchivedBlobError("archived: it heals when it is rehydrated")
    # Azure's OperationTimedOut and InternalError do not say whether a write took place.
    if status < 300 or (status >= 500 and status not in _TRY_LATER):
        return _lost(service, writing=writing, answer=answer if status else "no answer")
    if status in _INVALID or code in _TOO_LARGE:
        what = "too large" if status == 413 or code in _TOO_LARGE else "invalid"
        return InvalidInputError(f"{service} refused a request as {what} ({answer})")
    return UnavailableError(f"{service} {_why(status, code)} ({answer})")


def _why(status: int, code: str) -> str:
    if code in _NO_PLACE:
        return "lacks what this program needs; create it"
    return "asks to try again later" if status in _TRY_LATER else "cannot do this now"


def _lost(service: Service, *, writing: bool, answer: str = "no answer") -> IndexerError:
    if writing:
        return UnknownOutcomeError(f"{service} did not confirm a write ({answer})")
    return UnavailableError(f"{service} did not answer a read ({answer})")


def _refused(service: Service, exc: Exception) -> IndexerError:
    response = exc if isinstance(exc, HttpResponseError) else None
    answer = f"{response.status_code or ''} {code_of(response)}".strip() if response else ""
    return UnavailableError(
        f"{service} refused this program ({answer or type(exc).__name__}): give its identity the"
        f" role {_ROLES[service]}, or correct the connection string; new roles take some minutes"
    )
