"""Messages between the programs: ``series-check`` and ``series-ready``.

What comes from a queue is not trusted: anything but the exact form is refused, so that no odd value
travels on into keys and rows.
"""

import json
import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from indexer_core.errors import InvalidInputError

FORMAT_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCheck:
    """A message on the ``series-check`` queue; `force` skips the quiet period."""

    series: str
    token: str
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReady:
    """A message on the ``series-ready`` queue.

    uploaded_s: when the newest blob that made this content was uploaded, in seconds since the Unix
    epoch; None where the content is handed on again, or nobody knows. It is measured by and decides
    nothing: messages without it, and programs that do not read it, are as good.
    """

    series: str
    revision: int
    digest: str
    uploaded_s: float | None = field(default=None, compare=False)


def dump_check(check: SeriesCheck) -> str:
    """Message body of a check."""
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "series": check.series,
            "token": check.token,
            "force": check.force,
        }
    )


def parse_check(body: str) -> SeriesCheck:
    """Read a check.

    Raises
    ------
    InvalidInputError
        Not such a message.
    """
    fields = _fields(body)
    token, force = fields.get("token"), fields.get("force")
    if not isinstance(token, str) or type(force) is not bool:
        raise _not_ours()
    return SeriesCheck(series=_digest(fields, "series"), token=token, force=force)


def dump_ready(ready: SeriesReady) -> str:
    """Message body of ``series-ready``."""
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "series": ready.series,
            "revision": ready.revision,
            "digest": ready.digest,
            **({} if ready.uploaded_s is None else {"uploaded_s": ready.uploaded_s}),
        }
    )


def parse_ready(body: str) -> SeriesReady:
    """Read ``series-ready``.

    Raises
    ------
    InvalidInputError
        Not such a message.
    """
    fields = _fields(body)
    revision = fields.get("revision")
    if type(revision) is not int or revision < 1:
        raise _not_ours()
    return SeriesReady(
        series=_digest(fields, "series"),
        revision=revision,
        digest=_digest(fields, "digest"),
        uploaded_s=_time(fields.get("uploaded_s")),
    )


def _time(value: Any) -> float | None:
    """A time, None for anything else: what is only measured by is no reason to refuse work."""
    # An integer may be too large for a float; none of ours is.
    return value if type(value) is float and isfinite(value) and value >= 0 else None


def _not_ours() -> InvalidInputError:
    return InvalidInputError("the message is not one of this indexer's")


def _fields(body: str) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("the message is not JSON") from error
    if not isinstance(fields, dict):
        raise _not_ours()
    version = fields.get("format_version")
    if type(version) is not int or version < 1:
        raise _not_ours()
    if version > FORMAT_VERSION:
        raise InvalidInputError("the message is newer than this software reads")
    return fields


def _digest(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise _not_ours()
    return value
