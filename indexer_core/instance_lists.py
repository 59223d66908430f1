"""Instance lists: exactly the blobs, in exactly the versions, that a content digest stands for."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from indexer_core.errors import CorruptIndexError
from indexer_core.facts import InstanceFacts, instance_from_json, to_json
from indexer_core.ports import Row
from indexer_core.sealed import check_row_version, seal, unseal
from indexer_core.uids import instance_key

LISTS = "assembly/"
FORMAT_VERSION = 1
ROW_VERSION = 1
"""Newest format of an instance row; a look writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledInstance:
    """One blob of a closed series."""

    url: str
    etag: str
    content: str
    scope: str
    facts: InstanceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledSeries:
    """The instances of one content digest, in instance-key order; none when all have gone."""

    series: str
    digest: str
    instances: tuple[AssembledInstance, ...]

    @property
    def used(self) -> tuple[AssembledInstance, ...]:
        """One blob per SOP Instance UID, the one of the smallest instance key."""
        first: dict[str, AssembledInstance] = {}
        for instance in sorted(self.instances, key=lambda i: instance_key(i.url)):
            first.setdefault(instance.facts.sop_instance_uid, instance)
        return tuple(first.values())


def series_digest(instances: Sequence[tuple[str, str]]) -> str:
    """sha256 over the sorted (instance key, content) pairs; of no instances too."""
    lines = "".join(f"{key} {content}\n" for key, content in sorted(instances))
    return hashlib.sha256(lines.encode()).hexdigest()


def assembled_of(series: str, rows: Sequence[Row]) -> AssembledSeries:
    """The instance list that these instance rows describe.

    Raises
    ------
    CorruptIndexError
        A row is unreadable.
    """
    ordered = sorted(rows, key=lambda row: row.key)
    try:
        instances = tuple(_instance_of(row) for row in ordered)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptIndexError("an instance row is unreadable") from error
    pairs = [(row.key, one.content) for row, one in zip(ordered, instances, strict=True)]
    return AssembledSeries(series=series, digest=series_digest(pairs), instances=instances)


def list_name(series: str, digest: str) -> str:
    """Blob name of the instance list of a digest."""
    return f"{LISTS}{series}/{digest}.json"


def named_by(name: str) -> tuple[str, str]:
    """Series and digest in the name of an instance list.

    Raises
    ------
    CorruptIndexError
        It is not such a name.
    """
    series, _, digest = name.removeprefix(LISTS).removesuffix(".json").partition("/")
    if list_name(series, digest) != name:
        raise CorruptIndexError(f"{name}: not the name of an instance list")
    return series, digest


def dump_list(assembled: AssembledSeries) -> bytes:
    """The instance list as sealed JSON."""
    instances = [
        {
            "url": instance.url,
            "etag": instance.etag,
            "content": instance.content,
            "scope": instance.scope,
            "facts": to_json(instance.facts),
        }
        for instance in assembled.instances
    ]
    return seal({"format_version": FORMAT_VERSION, "instances": instances})


def parse_list(data: bytes, series: str, digest: str) -> AssembledSeries:
    """Read the instance list of a digest.

    Raises
    ------
    CorruptIndexError
        It is unreadable, newer than this software, or of another digest.
    """
    name = list_name(series, digest)
    body = unseal(data, name, FORMAT_VERSION)
    try:
        instances = tuple(
            AssembledInstance(
                url=entry["url"],
                etag=entry["etag"],
                content=entry["content"],
                scope=entry["scope"],
                facts=instance_from_json(entry["facts"]),
            )
            for entry in body["instances"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptIndexError(f"{name}: unreadable") from error
    pairs = [(instance_key(instance.url), instance.content) for instance in instances]
    if series_digest(pairs) != digest:
        raise CorruptIndexError(f"{name}: the digest does not fit the list")
    return AssembledSeries(series=series, digest=digest, instances=instances)


def _instance_of(row: Row) -> AssembledInstance:
    check_row_version(row.values, ROW_VERSION, "an instance row")
    return AssembledInstance(
        url=row.values["url"],
        etag=row.values["etag"],
        content=row.values["content"],
        scope=row.values["scope"],
        facts=instance_from_json(json.loads(row.values["facts"])),
    )
