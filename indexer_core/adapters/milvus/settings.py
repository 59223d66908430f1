"""Which Milvus the second home of the index is, as settings say; needs no pymilvus to be read."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite

from indexer_core.errors import InvalidInputError

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusSettings:
    """Which Milvus, and which collections in it.

    Parameters
    ----------
    uri
        ``http://host:19530``, the address of a managed service, or, with milvus-lite, the path of
        a folder that ends in ``.db``.
    token
        ``user:password`` or an API key; "" where none is asked for. Never logged.
    prefix
        Of the names of the collections: one for every index that shares a Milvus.
    timeout_s
        Of one request.
    """

    uri: str
    token: str = field(default="", repr=False)
    prefix: str = "dicom"
    timeout_s: float = 30.0


def read_milvus_settings(environment: Mapping[str, str], prefix: str) -> MilvusSettings | None:
    """Settings from the variables ``<prefix>URI``, ``TOKEN``, ``PREFIX`` and ``TIMEOUT_S``.

    Parameters
    ----------
    prefix
        Of the names of the variables, such as ``DICOM_INDEXER_MILVUS_``.

    Returns
    -------
    MilvusSettings or None
        None where no URI is set: there is no second home.

    Raises
    ------
    InvalidInputError
        A variable has a value that cannot be used; the message names it.
    """
    uri = environment.get(f"{prefix}URI")
    if not uri:
        return None
    name = environment.get(f"{prefix}PREFIX") or "dicom"
    if not _PREFIX.fullmatch(name):
        raise InvalidInputError(
            f"{prefix}PREFIX is a letter, then letters, digits or _, 64 at most, not {name!r}"
        )
    return MilvusSettings(
        uri=uri,
        token=environment.get(f"{prefix}TOKEN", ""),
        prefix=name,
        timeout_s=_seconds(environment, f"{prefix}TIMEOUT_S"),
    )


def _seconds(environment: Mapping[str, str], name: str) -> float:
    value = environment.get(name) or "30"
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or number <= 0:
        raise InvalidInputError(f"{name} is a number above 0, not {value!r}")
    return number


@contextmanager
def client_at_hand() -> Iterator[None]:
    """Around the imports of what needs Milvus's client.

    Raises
    ------
    InvalidInputError
        It is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pymilvus":
            raise
        raise InvalidInputError(
            "an index on Milvus needs its client, pymilvus: pip install 'dicom-indexer[milvus]'"
        ) from error
