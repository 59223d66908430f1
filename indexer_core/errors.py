"""Errors, grouped by what the handler does with them.

::

    IndexerError                 kind: a stable ErrorKind
    ├── InvalidInputError        also ValueError   set aside with its reason; HTTP 400
    ├── NotFoundError            also LookupError  HTTP 404
    │   └── ManifestExpiredError the page of an answer that is no longer kept: ask anew; HTTP 410
    ├── ConflictError            reload and retry; surfaces only when the budget is spent
    ├── UnavailableError         back off; the message returns to its queue; HTTP 503
    ├── EncoderUnavailableError  this program lacks what the question needs; HTTP 501
    ├── NotOnThisHomeError       this home of the index cannot answer it; HTTP 501
    ├── UnknownOutcomeError      read back before doing anything else
    └── CorruptIndexError        stop and alert; never repaired silently

Messages never carry a patient attribute, a query text or a blob path, unless the path was given
by the person who reads the message (the command line).
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """Stable codes shown to callers; append-only."""

    INVALID_INPUT = "invalidInput"
    NOT_FOUND = "notFound"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    UNKNOWN_OUTCOME = "unknownOutcome"
    CORRUPT_INDEX = "corruptIndex"
    MANIFEST_EXPIRED = "manifestExpired"
    IMAGE_ENCODER_UNAVAILABLE = "imageEncoderUnavailable"
    NOT_ON_THIS_HOME = "notOnThisHome"


class IndexerError(Exception):
    """Anything that dicom-indexer raises on purpose."""

    kind: ErrorKind


class InvalidInputError(IndexerError, ValueError):
    """The input can never succeed as it is: set it aside and tell its reason."""

    kind = ErrorKind.INVALID_INPUT


class NotFoundError(IndexerError, LookupError):
    """What was asked for is not there."""

    kind = ErrorKind.NOT_FOUND


class ManifestExpiredError(NotFoundError):
    """The manifest that an answer came from is not kept any more: its next page cannot be told."""

    kind = ErrorKind.MANIFEST_EXPIRED


class ConflictError(IndexerError):
    """Somebody else won a race more often than the retry budget allows."""

    kind = ErrorKind.CONFLICT


class UnavailableError(IndexerError):
    """A dependency cannot answer now (down, throttled, disk full): try again later."""

    kind = ErrorKind.UNAVAILABLE


class EncoderUnavailableError(IndexerError):
    """A program lacks the encoder for the pictures of an index: asking again will not help."""

    kind = ErrorKind.IMAGE_ENCODER_UNAVAILABLE


class NotOnThisHomeError(IndexerError):
    """An index on Milvus cannot answer this; the same index from its segments can."""

    kind = ErrorKind.NOT_ON_THIS_HOME


class UnknownOutcomeError(IndexerError):
    """A write may or may not have happened: read back before doing anything else."""

    kind = ErrorKind.UNKNOWN_OUTCOME


class CorruptIndexError(IndexerError):
    """Stored data contradicts its checksum or format: stop, never guess."""

    kind = ErrorKind.CORRUPT_INDEX
