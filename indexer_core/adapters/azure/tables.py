"""Rows in a table of a storage account: one property per value, so that a merge is Azure's merge.

What a property cannot hold is stored as binary, told by its first byte:

- ``N``: None (a merge ignores null properties, so absence cannot stand for it);
- ``S``: text that is long (a property holds 32 Ki characters) or holds what JSON or XML tools on
  the way may not keep; one byte tells the number of pieces, then zlib of its UTF-8; further pieces
  lie in properties ``y__1__NAME``, ``y__2__NAME``, ... (those of an earlier, longer text stay
  behind and are passed over);
- ``I``: a whole number beyond 64 bits, in decimal.

Keys are encoded so that their order is kept and nothing is left that Azure forbids in them.
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import EdmType, EntityProperty, TableClient, TableEntity, UpdateMode

from indexer_core.adapters.azure.clients import READING
from indexer_core.adapters.azure.errors import Service, code_of, is_absent, translated
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import PreconditionFailed, Row, WriteResult, Written

_MAX_ROW_BYTES = 1_000_000
"""Of Azure's 1 MiB; the rest is for keys and types."""
_MAX_KEY_BYTES = 1024
_MAX_PLAIN_CHARACTERS = 16_000
_PIECE_BYTES = 60_000
_MAX_NAME_CHARACTERS = 240
_MAX_INT64: Final = 2**63 - 1
# No control characters, no surrogates, none of U+FFF0 to U+FFFF.
_PLAIN_TEXT = re.compile("[ -~\u00a0-\ud7ff\ue000-\uffef\U00010000-\U0010ffff]*")
_NONE, _TEXT, _INTEGER = b"N", b"S", b"I"
# 409 has other reasons too: the table is being deleted.
_EXISTS = frozenset({"EntityAlreadyExists", "ResourceAlreadyExists", ""})
_OWN_NAMES = frozenset({"PartitionKey", "RowKey", "Timestamp"})
# A name stored as it is holds no "__", so none begins like these.
_HEX = "x__"
_PIECE = "y__"

# Escapes keep the order because each begins with a character that sorts where the escaped byte
# does: everything below "-" becomes "!" and two hex digits, what lies between "9" and "A" begins
# with ":", and so on. "/" lies between "." and "0", where no other character is: ".~", which
# sorts after "." and anything that may follow it.
_PLAIN: Final = frozenset(b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_SLASH = ".~"


def _escape(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    if byte == ord("/"):
        return _SLASH
    starts = ((ord("-"), "!"), (ord("A"), ":"), (ord("_"), "["), (ord("a"), "`"))
    start = next((mark for limit, mark in starts if byte < limit), "{")
    return f"{start}{byte:02x}"


_ESCAPES: Final = tuple(_escape(byte) for byte in range(256))
_MARKS: Final = frozenset("!:[`{")


def key_to_azure(key: str) -> str:
    """A PartitionKey or RowKey for any text; the order by code point is kept.

    Raises
    ------
    InvalidInputError
        The key is too long for Azure.
    """
    encoded = "".join([_ESCAPES[byte] for byte in key.encode("utf-8", "surrogatepass")])
    if len(encoded) > _MAX_KEY_BYTES:
        raise InvalidInputError("a key of a row is too long for table storage (1 KiB)")
    return encoded


def key_from_azure(encoded: str) -> str:
    """The inverse of `key_to_azure`.

    Raises
    ------
    CorruptIndexError
        The key was not written by this program.
    """
    found = bytearray()
    place = 0
    try:
        while place < len(encoded):
            if encoded.startswith(_SLASH, place):
                found += b"/"
                place += 2
            elif encoded[place] in _MARKS:
                found.append(int(encoded[place + 1 : place + 3], 16))
                place += 3
            else:
                found += encoded[place].encode("ascii")
                place += 1
        return found.decode("utf-8", "surrogatepass")
    except ValueError:
        raise CorruptIndexError("a row of table storage has a key of another program") from None


class AzureRows:
    """Implements `indexer_core.ports.RowStore` on a table of a storage account.

    Parameters
    ----------
    table
        From `indexer_core.adapters.azure.clients.AzureStorage`, whose retries fit: a write whose
        answer is lost raises `UnknownOutcomeError` instead of meeting its own success.
    """

    def __init__(self, table: TableClient) -> None:
        self._table = table

    def get(self, partition: str, key: str) -> Row | None:
        """The row, or None."""
        place = (key_to_azure(partition), key_to_azure(key))
        with translated(Service.TABLES):
            try:
                return _row(self._table.get_entity(*place, **READING))
            except ResourceNotFoundError as exc:
                if is_absent(exc):
                    return None
                raise

    def insert(self, partition: str, key: str, values: Mapping[str, Any]) -> WriteResult:
        """Create the row; PreconditionFailed when it exists."""
        entity = _entity(partition, key, values)
        with translated(Service.TABLES, writing=True):
            try:
                return _written(self._table.create_entity(entity))
            except ResourceExistsError as exc:
                if code_of(exc) in _EXISTS:
                    return PreconditionFailed()
                raise

    def merge(self, row: Row, values: Mapping[str, Any]) -> WriteResult:
        """Set these values, keep the others, if the stored etag is still `row.etag`."""
        entity = _entity(row.partition, row.key, values)
        with translated(Service.TABLES, writing=True):
            try:
                stored = self._table.update_entity(
                    entity,
                    mode=UpdateMode.MERGE,
                    etag=row.etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except ResourceModifiedError:
                return PreconditionFailed()
            except ResourceNotFoundError as exc:
                if is_absent(exc):
                    return PreconditionFailed()
                raise
        return _written(stored)

    def delete(self, row: Row) -> bool:
        """Delete if the stored etag is still `row.etag`; False otherwise."""
        place = (key_to_azure(row.partition), key_to_azure(row.key))
        statuses: list[int] = []
        with translated(Service.TABLES, writing=True):
            try:
                self._table.delete_entity(
                    *place,
                    etag=row.etag,
                    match_condition=MatchConditions.IfNotModified,
                    # The SDK takes "absent" for success.
                    raw_response_hook=lambda answer: statuses.append(
                        answer.http_response.status_code
                    ),
                )
            except ResourceModifiedError:
                return False
        return statuses[-1:] != [404]

    def query(self, partition: str) -> Iterator[Row]:
        """Rows of a partition in key order."""
        with translated(Service.TABLES):
            for entity in self._table.query_entities(
                "PartitionKey eq @partition",
                parameters={"partition": key_to_azure(partition)},
                **READING,
            ):
                yield _row(entity)

    def scan(self) -> Iterator[Row]:
        """Every row of the table, by partition then key (maintenance and sweeps only)."""
        with translated(Service.TABLES):
            for entity in self._table.list_entities(**READING):
                yield _row(entity)


def _written(stored: Mapping[str, Any]) -> Written:
    return Written(etag=str(stored["etag"]))


def _entity(partition: str, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    entity: dict[str, Any] = {}
    for name, value in values.items():
        entity.update(_properties(_name_to_azure(name), value))
    if sum(map(_size_bytes, entity.values())) > _MAX_ROW_BYTES:
        raise InvalidInputError("a row is too large for table storage (1 MiB)")
    return {"PartitionKey": key_to_azure(partition), "RowKey": key_to_azure(key), **entity}


def _size_bytes(value: Any) -> int:
    if isinstance(value, str):
        return 2 * len(value)
    return len(value) if isinstance(value, bytes) else 8


def _properties(name: str, value: Any) -> dict[str, Any]:
    """The properties that hold one value."""
    if isinstance(value, str):
        plain = len(value) <= _MAX_PLAIN_CHARACTERS and _PLAIN_TEXT.fullmatch(value)
        return {name: value} if plain else _pieces(name, value)
    return {name: _property(value)}


def _property(value: Any) -> Any:
    match value:
        case None:
            return _NONE
        case bool():
            return value
        case int():
            small = -_MAX_INT64 <= value <= _MAX_INT64
            digits = _INTEGER + str(value).encode("ascii")
            return EntityProperty(value, EdmType.INT64) if small else digits
        case float():
            if not math.isfinite(value):
                raise ValueError("a row holds JSON scalars only: neither NaN nor infinity")
            return EntityProperty(value, EdmType.DOUBLE)
        case _:
            raise TypeError("a row holds JSON scalars only")


def _pieces(name: str, text: str) -> dict[str, Any]:
    data = zlib.compress(text.encode("utf-8", "surrogatepass"))
    pieces = [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)]
    if len(pieces) * _PIECE_BYTES > _MAX_ROW_BYTES:
        raise InvalidInputError("a row is too large for table storage (1 MiB)")
    first = {name: _TEXT + bytes([len(pieces)]) + pieces[0]}
    return first | {_piece_name(name, i): piece for i, piece in enumerate(pieces) if i}


def _name_to_azure(name: str) -> str:
    own = name in _OWN_NAMES or "__" in name or not (name.isascii() and name.isidentifier())
    stored = _HEX + name.encode("utf-8", "surrogatepass").hex() if own else name
    if len(stored) > _MAX_NAME_CHARACTERS:
        raise InvalidInputError("the name of a value is too long for table storage")
    return stored


def _name_from_azure(stored: str) -> str | None:
    """The name of a value, or None for a further piece of one."""
    if stored.startswith(_PIECE):
        return None
    if not stored.startswith(_HEX):
        return stored
    return bytes.fromhex(stored.removeprefix(_HEX)).decode("utf-8", "surrogatepass")


def _piece_name(stored: str, place: int) -> str:
    return f"{_PIECE}{place}__{stored}"


def _row(entity: TableEntity) -> Row:
    try:
        values = {
            name: _value(entity, stored)
            for stored in entity
            if stored not in _OWN_NAMES and (name := _name_from_azure(stored)) is not None
        }
    except (ValueError, KeyError, IndexError, zlib.error):
        raise CorruptIndexError("a row of table storage is not of this program's making") from None
    return Row(
        partition=key_from_azure(entity["PartitionKey"]),
        key=key_from_azure(entity["RowKey"]),
        values=values,
        etag=str(entity.metadata["etag"]),
    )


def _value(entity: TableEntity, stored: str) -> Any:
    value = entity[stored]
    if isinstance(value, EntityProperty):
        return value.value
    if not isinstance(value, bytes):
        return value
    kind, rest = value[:1], value[1:]
    if kind == _NONE:
        return None
    if kind == _INTEGER:
        return int(rest)
    if kind != _TEXT:
        raise ValueError(kind)
    pieces = [entity[_piece_name(stored, i)] for i in range(1, rest[0])]
    return zlib.decompress(b"".join([rest[1:], *pieces])).decode("utf-8", "surrogatepass")
