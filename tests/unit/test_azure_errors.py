"""What Azure's exceptions become, and what never leaves with them."""

import importlib
import inspect
import pkgutil
import traceback
from types import SimpleNamespace

import azure.core.exceptions
import azure.data.tables
import azure.eventgrid
import azure.identity
import azure.storage.blob
import azure.storage.queue
import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ODataV4Error,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
    StreamConsumedError,
)
from requests.exceptions import SSLError

from indexer_core.adapters.azure.errors import (
    MEANINGS,
    ArchivedBlobError,
    Meaning,
    Service,
    error_of,
    is_absent,
    meaning_of,
    translated,
)
from indexer_core.errors import InvalidInputError, UnavailableError, UnknownOutcomeError

SECRET = "sig=PLANTED-SECRET"
PACKAGES = (
    azure.core.exceptions,
    azure.storage.blob,
    azure.storage.queue,
    azure.data.tables,
    azure.identity,
    azure.eventgrid,
)
# Of quick queries over Avro files, which nothing here asks for; and of async variants.
UNUSED = (".avro", ".aio")


def vendor_exceptions():
    found = set()
    for package in PACKAGES:
        modules = [package]
        infos = pkgutil.walk_packages(getattr(package, "__path__", ()), package.__name__ + ".")
        modules += [
            importlib.import_module(info.name)
            for info in infos
            if not any(part in info.name for part in UNUSED)
        ]
        for module in modules:
            for kind in vars(module).values():
                if inspect.isclass(kind) and issubclass(kind, Exception):
                    found.add(kind)
    return {kind for kind in found if kind.__module__.startswith("azure.")} - {AzureError}


def response(status, code=None):
    headers = {} if code is None else {"x-ms-error-code": code}
    return SimpleNamespace(status_code=status, reason="", headers=headers, text=lambda: SECRET)


def answered(status, code=None, kind=HttpResponseError):
    return kind(
        message=f"https://a.blob.core.windows.net/c/DOE?{SECRET}", response=response(status, code)
    )


def ours(exc, *, writing):
    with pytest.raises(Exception) as caught, translated(Service.BLOBS, writing=writing):
        raise exc
    return caught.value


def test_every_exception_of_the_sdks_has_a_meaning():
    kinds = vendor_exceptions()
    assert len(kinds) > 20
    unmapped = [kind for kind in kinds if not MEANINGS.keys() & set(kind.__mro__)]
    assert unmapped == []
    of_core = {k for k in kinds if k.__module__ == "azure.core.exceptions"}
    # Those of the common library one by one: a base class may mean something else.
    assert of_core - MEANINGS.keys() == set()


def test_class_nobody_knows_is_taken_for_a_lost_answer():
    class NovelError(AzureError):
        pass

    assert meaning_of(NovelError) is Meaning.LOST
    assert isinstance(ours(NovelError("x"), writing=True), UnknownOutcomeError)


@pytest.mark.parametrize(
    ("exc", "reading", "writing"),
    [
        (ServiceRequestError(SECRET), UnavailableError, UnavailableError),
        (ServiceResponseError(SECRET), UnavailableError, UnknownOutcomeError),
        (ServiceResponseTimeoutError(SECRET), UnavailableError, UnknownOutcomeError),
        (IncompleteReadError(SECRET), UnavailableError, UnknownOutcomeError),
        (ClientAuthenticationError(SECRET), UnavailableError, UnavailableError),
        (answered(401), UnavailableError, UnavailableError),
        (answered(403, "AuthorizationPermissionMismatch"), UnavailableError, UnavailableError),
        (answered(404, "ContainerNotFound"), UnavailableError, UnavailableError),
        (answered(429), UnavailableError, UnavailableError),
        (answered(503, "ServerBusy"), UnavailableError, UnavailableError),
        (answered(500, "OperationTimedOut"), UnavailableError, UnknownOutcomeError),
        (answered(502), UnavailableError, UnknownOutcomeError),
        (answered(504), UnavailableError, UnknownOutcomeError),
        (answered(409, "BlobArchived"), ArchivedBlobError, ArchivedBlobError),
        (answered(409, "ContainerBeingDeleted"), UnavailableError, UnavailableError),
        (answered(412, "LeaseIdMissing"), UnavailableError, UnavailableError),
        (answered(413, "RequestBodyTooLarge"), InvalidInputError, InvalidInputError),
        (answered(400, "PropertyValueTooLarge"), InvalidInputError, InvalidInputError),
        (answered(400, "InvalidInput"), InvalidInputError, InvalidInputError),
        (answered(302), UnavailableError, UnavailableError),
        (HttpResponseError(SECRET), UnavailableError, UnknownOutcomeError),
    ],
)
def test_each_condition_becomes_the_error_that_tells_what_to_do(exc, reading, writing):
    assert type(ours(exc, writing=False)) is reading
    assert type(ours(exc, writing=True)) is writing


def test_broken_tls_during_a_write_leaves_its_outcome_unknown():
    broken = ServiceRequestError("x", error=SSLError("EOF"))
    assert type(ours(broken, writing=True)) is UnknownOutcomeError
    assert type(ours(broken, writing=False)) is UnavailableError


def test_sdk_that_stumbles_over_an_answer_that_broke_off_leaves_the_outcome_unknown():
    def stumble(exc):
        try:
            raise exc
        except HttpResponseError as error:
            return error.response.headers

    with pytest.raises(UnknownOutcomeError), translated(Service.TABLES, writing=True):
        stumble(IncompleteReadError(SECRET))
    with pytest.raises(AttributeError), translated(Service.TABLES, writing=True):
        stumble(HttpResponseError(SECRET, response=SimpleNamespace(status_code=1, reason="")))
    with pytest.raises(AttributeError), translated(Service.TABLES, writing=True):
        _ = SECRET.headers


def test_bug_stays_a_bug():
    bug = StreamConsumedError(SimpleNamespace(request="x"))
    assert ours(bug, writing=True) is bug
    assert error_of(bug, Service.BLOBS, writing=False) is None


def test_refusal_says_which_role_is_missing():
    text = str(ours(answered(403, "AuthorizationFailure"), writing=False))
    assert "403 AuthorizationFailure" in text
    assert "Storage Blob Data Contributor" in text


def test_missing_container_is_told_from_a_missing_blob():
    assert is_absent(answered(404, "BlobNotFound", ResourceNotFoundError))
    assert is_absent(answered(404, None, ResourceNotFoundError))
    for code in ("ContainerNotFound", "QueueNotFound", "TableNotFound"):
        assert not is_absent(answered(404, code, ResourceNotFoundError))


@pytest.mark.parametrize("kind", sorted(MEANINGS, key=lambda kind: kind.__name__))
def test_no_text_of_azure_leaves_with_our_errors(kind):
    if MEANINGS[kind] is Meaning.BUG:
        return
    exc = kind(response(418)) if kind is ODataV4Error else kind(SECRET)
    for writing in (False, True):
        error = ours(exc, writing=writing)
        assert "PLANTED" not in "".join(traceback.format_exception(error))


def test_code_that_is_no_word_of_azure_is_not_repeated():
    text = str(ours(answered(409, f"<{SECRET}>"), writing=False))
    assert "PLANTED" not in text
