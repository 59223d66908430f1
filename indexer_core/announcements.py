"""What the indexer tells the world: CloudEvents 1.0 about series, without patient attributes.

They are published after the commit and before the message is acknowledged, and again when a
redelivery finds the work done: at least once, with the same id each time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

SOURCE = "/dicom-indexer"


class AnnouncementType(StrEnum):
    """Event types; append-only."""

    SERIES_INDEXED = "DicomIndexer.SeriesIndexed"
    SERIES_REMOVED = "DicomIndexer.SeriesRemoved"
    SERIES_REJECTED = "DicomIndexer.SeriesRejected"
    PROJECTION_PUBLISHED = "DicomIndexer.ProjectionPublished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One thing that happened. `data` holds numbers, codes and keys only."""

    type: AnnouncementType
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The same for the same thing, however often it is announced."""
        identity = [
            self.type.value,
            self.subject,
            *(f"{k}={self.data[k]}" for k in _IDENTITY if k in self.data),
        ]
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()


# Not the manifest: a redelivery may find the row in a later one.
_IDENTITY = ("revision", "digest", "version", "code")


class Announcer(Protocol):
    """Tells the world. Called after the commit and before the acknowledgement."""

    def announce(self, announcements: Sequence[Announcement]) -> None:
        """Publish; an exception brings the message back, and with it the announcement."""


class Nobody:
    """An `Announcer` where nobody listens."""

    def announce(self, announcements: Sequence[Announcement]) -> None:
        """Tell nobody."""

    def close(self) -> None:
        """Nothing was opened."""


def series_indexed(series: str, revision: int, digest: str, manifest: int) -> Announcement:
    """A revision of a series can be found."""
    return Announcement(
        type=AnnouncementType.SERIES_INDEXED,
        subject=f"series/{series}",
        data={"seriesKey": series, "revision": revision, "digest": digest, "manifest": manifest},
    )


def series_removed(series: str, revision: int, manifest: int) -> Announcement:
    """The last instance of a series has gone."""
    return Announcement(
        type=AnnouncementType.SERIES_REMOVED,
        subject=f"series/{series}",
        data={"seriesKey": series, "revision": revision, "manifest": manifest},
    )


def series_rejected(series: str, revision: int, code: str) -> Announcement:
    """A series was set aside."""
    return Announcement(
        type=AnnouncementType.SERIES_REJECTED,
        subject=f"series/{series}",
        data={"seriesKey": series, "revision": revision, "code": code},
    )


def projection_published(version: str, manifest: int) -> Announcement:
    """A map is in force."""
    return Announcement(
        type=AnnouncementType.PROJECTION_PUBLISHED,
        subject=f"projection/{version}",
        data={"version": version, "manifest": manifest},
    )


def to_cloud_event(announcement: Announcement, now_s: float) -> dict[str, Any]:
    """The announcement in the CloudEvents 1.0 JSON format."""
    return {
        "specversion": "1.0",
        "id": announcement.id,
        "source": SOURCE,
        "type": announcement.type.value,
        "subject": announcement.subject,
        "time": datetime.fromtimestamp(now_s, UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": dict(announcement.data),
    }
