"""A viewer of pictures that others run: where a page may lead whoever wants to see a series."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from indexer_core.errors import InvalidInputError

STUDY, SERIES = "{study}", "{series}"
"""Stand in an address for Study and Series Instance UIDs."""


def read_viewer(environment: Mapping[str, str], name: str) -> str | None:
    """The address of the viewer with places for UIDs; None where the variable is not set.

    Raises
    ------
    InvalidInputError
        It is no address of the web, or has no place for a UID behind its host.
    """
    address = environment.get(name)
    if not address:
        return None
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in {"https", "http"} and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable or "{" in parts.netloc or any(each.isspace() for each in address):
        raise InvalidInputError(f"{name} is an address that begins with https:// or http://")
    if STUDY not in address and SERIES not in address:
        raise InvalidInputError(f"{name} has {STUDY} or {SERIES} where the viewer expects a UID")
    return address
