"""What lies in an index store and what of it is damaged: the ground of `verify` and of its repair.

Everything stored proves itself: manifests, stubs and instance lists are sealed, files are named by
the sha256 of their content, the text cache carries a digest. So what is damaged can be told file by
file, without believing anything that is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from indexer_core.cohorts.model import FORMAT_VERSION as COHORT_VERSION
from indexer_core.cohorts.store import PREFIX as COHORTS
from indexer_core.cohorts.store import parse_named
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.index.commit import (
    HINT,
    PREFIX,
    hinted_number,
    manifest_name,
    number_of,
    parse_numbered,
)
from indexer_core.index.files import read_file
from indexer_core.index.manifest import (
    EMPTY,
    FORMAT_VERSION,
    FileRef,
    Manifest,
    Stub,
)
from indexer_core.instance_lists import FORMAT_VERSION as LIST_VERSION
from indexer_core.instance_lists import LISTS, named_by, parse_list
from indexer_core.ports import BlobEntry, BlobStore
from indexer_core.purge_receipts import FORMAT_VERSION as RECEIPT_VERSION
from indexer_core.purge_receipts import PREFIX as RECEIPTS
from indexer_core.purge_receipts import parse_receipt
from indexer_core.sealed import is_of_newer_format
from indexer_core.text_cache import PREFIX as TEXT_CACHE
from indexer_core.text_cache import check_cache_file


class FileKind(StrEnum):
    """What a stored file is for."""

    MANIFEST = "manifest"
    HINT = "hint"
    ROWS = "rows"
    VECTORS = "vectors"
    COORDINATES = "coordinates"
    PROJECTOR = "projector"
    MAP_STATE = "mapState"
    INSTANCE_LIST = "instanceList"
    TEXT_CACHE = "textCache"
    RECEIPT = "receipt"
    COHORT = "cohort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file that is missing or is not what it must be.

    newer: it is whole, but of a format that this software does not know. Nothing may mend it.
    """

    name: str
    kind: FileKind
    reason: str
    newer: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(slots=True)
class ManifestSurvey:
    """The manifests by number, and what is wrong with others. highest: of any name or hole."""

    retained: dict[int, Manifest] = field(default_factory=dict)
    n_stubs: int = 0
    damaged: dict[int, Damage] = field(default_factory=dict)
    foreign: list[Damage] = field(default_factory=list)
    highest: int = 0

    @property
    def newest(self) -> Manifest:
        """The newest one that is intact, `EMPTY` when there is none."""
        return self.retained[max(self.retained)] if self.retained else EMPTY

    @property
    def damage(self) -> list[Damage]:
        """Everything that is wrong."""
        return [*(self.damaged[number] for number in sorted(self.damaged)), *self.foreign]

    def files(self) -> dict[str, tuple[FileKind, FileRef]]:
        """Every file that a retained manifest names, by name."""
        return {
            file.name: (kind, file)
            for manifest in self.retained.values()
            for kind, file in files_of(manifest)
        }


def files_of(manifest: Manifest) -> Iterator[tuple[FileKind, FileRef]]:
    """Every file that a manifest names, with what it is for."""
    for segment in manifest.segments:
        yield FileKind.ROWS, segment.rows
        for vectors in segment.vectors:
            yield FileKind.VECTORS, vectors.file
        for coordinates in segment.coordinates:
            yield FileKind.COORDINATES, coordinates.file
    projection = manifest.projection
    if projection is not None:
        yield FileKind.PROJECTOR, projection.file
        if projection.major is not None:
            yield FileKind.PROJECTOR, projection.major
        if projection.state is not None:
            yield FileKind.MAP_STATE, projection.state


def survey_manifests(blobs: BlobStore) -> ManifestSurvey:
    """Read every manifest. Numbers have no holes: a name that was given stays taken."""
    found = ManifestSurvey()
    for entry in blobs.list(PREFIX):
        try:
            number = number_of(entry.name)
        except CorruptIndexError as error:
            found.foreign.append(_damage(entry.name, FileKind.MANIFEST, error))
            continue
        for missing in range(found.highest + 1, number):
            found.damaged[missing] = _missing(missing)
        found.highest = number
        _read_manifest(blobs, entry, number, found)
    for number, manifest in found.retained.items():
        before = found.retained.get(number - 1)
        if before is not None and not manifest.follows(before):
            reason = "does not follow the manifest before it"
            found.damaged[number] = Damage(
                name=manifest_name(number), kind=FileKind.MANIFEST, reason=reason
            )
    return found


def _read_manifest(blobs: BlobStore, entry: BlobEntry, number: int, found: ManifestSurvey) -> None:
    blob = blobs.get(entry.name)
    if blob is None:
        found.damaged[number] = _missing(number)
        return
    try:
        parsed = parse_numbered(blob.data, number)
    except CorruptIndexError as error:
        newer = is_of_newer_format(blob.data, FORMAT_VERSION)
        found.damaged[number] = _damage(entry.name, FileKind.MANIFEST, error, newer=newer)
        return
    if isinstance(parsed, Stub):
        found.n_stubs += 1
    else:
        found.retained[number] = parsed


def damage_of(blobs: BlobStore, manifests: ManifestSurvey) -> list[Damage]:
    """Everything in the store that is damaged, the manifests first."""
    files = (survey_file(blobs, kind, file) for kind, file in manifests.files().values())
    return [
        *manifests.damage,
        *(damage for damage in files if damage is not None),
        *survey_hint(blobs, manifests.highest),
        *survey_lists(blobs),
        *survey_text_cache(blobs),
        *survey_receipts(blobs),
        *survey_cohorts(blobs),
    ]


def survey_hint(blobs: BlobStore, highest: int) -> Iterator[Damage]:
    """The hint; readers get along with any, but it can tell that manifests were lost."""
    blob = blobs.get(HINT)
    if blob is None:
        return
    hinted = hinted_number(blob.data)
    if hinted is None:
        yield Damage(name=HINT, kind=FileKind.HINT, reason="not the number of a manifest")
    elif hinted > highest:
        reason = f"names manifest {hinted}, but the highest there is {highest}"
        yield Damage(name=HINT, kind=FileKind.HINT, reason=reason)


def survey_file(blobs: BlobStore, kind: FileKind, file: FileRef) -> Damage | None:
    """What is wrong with an immutable file, None when it is what its name says."""
    try:
        read_file(blobs, file)
    except CorruptIndexError as error:
        return _damage(file.name, kind, error)
    return None


def survey_lists(blobs: BlobStore) -> Iterator[Damage]:
    """The instance lists that are damaged."""
    for entry in blobs.list(LISTS):
        blob = blobs.get(entry.name)
        if blob is None:  # collected meanwhile
            continue
        try:
            parse_list(blob.data, *named_by(entry.name))
        except CorruptIndexError as error:
            newer = is_of_newer_format(blob.data, LIST_VERSION)
            yield _damage(entry.name, FileKind.INSTANCE_LIST, error, newer=newer)


def survey_text_cache(blobs: BlobStore) -> Iterator[Damage]:
    """The files of the text cache that are damaged."""
    for entry in blobs.list(TEXT_CACHE):
        blob = blobs.get(entry.name)
        if blob is None:  # joined with others meanwhile
            continue
        try:
            check_cache_file(blob.data)
        except CorruptIndexError as error:
            yield _damage(entry.name, FileKind.TEXT_CACHE, error)
        except InvalidInputError:
            continue  # of a newer format; whoever wrote it reads it


def survey_receipts(blobs: BlobStore) -> Iterator[Damage]:
    """The receipts of purges that are damaged."""
    return _survey(blobs, RECEIPTS, parse_receipt, FileKind.RECEIPT, RECEIPT_VERSION)


def survey_cohorts(blobs: BlobStore) -> Iterator[Damage]:
    """The saved cohorts that are damaged."""
    return _survey(blobs, COHORTS, parse_named, FileKind.COHORT, COHORT_VERSION)


def _survey(
    blobs: BlobStore,
    prefix: str,
    parse: Callable[[bytes, str], object],
    kind: FileKind,
    version: int,
) -> Iterator[Damage]:
    """Which blobs below a prefix cannot be parsed; `version`: the newest that is known."""
    for entry in blobs.list(prefix):
        blob = blobs.get(entry.name)
        if blob is None:
            continue
        try:
            parse(blob.data, entry.name)
        except CorruptIndexError as error:
            newer = is_of_newer_format(blob.data, version)
            yield _damage(entry.name, kind, error, newer=newer)


def _missing(number: int) -> Damage:
    return Damage(
        name=manifest_name(number),
        kind=FileKind.MANIFEST,
        reason="missing although a later manifest is there",
    )


def _damage(name: str, kind: FileKind, error: Exception, *, newer: bool = False) -> Damage:
    reason = str(error).removeprefix(f"{name}: ")
    return Damage(name=name, kind=kind, reason=reason, newer=newer)
