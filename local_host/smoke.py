"""Whether a deployment does what it is for: a file comes in, is found, goes out, is found no more.

A made-up series of one slice is uploaded; nothing of a patient is in it. It is deleted again
whatever happens. What stays is what stays of any deleted series: its marker and a tombstone.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from indexer_core.errors import (
    ConflictError,
    IndexerError,
    InvalidInputError,
    UnavailableError,
)
from indexer_core.ports import BlobStore, Clock, PreconditionFailed

QUESTION = "axial T1 MRI of the brain"
"""Words that the made-up series answers."""
_OK, _ABSENT = 200, 404
_REFUSED = frozenset({401, 403})
_SIGN_IN = frozenset({302, 303, 307})  # Easy Auth leads to where people sign in
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a service answers: status of HTTP, and JSON; 0 where it was not reached.

    code: of a problem document, else what went wrong, for people.
    """

    status: int
    body: Mapping[str, Any]
    code: str = ""


class Service(Protocol):
    """The HTTP API of a deployment."""

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answered:
        """Answer a request; what fails on the way is an answer, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The file to upload, and what it must be found by."""

    name: str
    data: bytes
    series_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoke:
    """How long each step took, in seconds."""

    series_instance_uid: str
    searchable_s: float
    search_s: float
    gone_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeTest:
    """One try.

    inbox: the container that is indexed. limit_s: how long an upload, or a deletion, may take to
    show. poll_s: between two looks. tell: is told each step as it is done.
    """

    service: Service
    inbox: BlobStore
    sample: Sample
    clock: Clock
    pause: Callable[[float], None]
    tell: Callable[[str], None]
    limit_s: float = 600.0
    poll_s: float = 2.0

    def run(self) -> Smoke:
        """Upload, wait, search, delete, wait.

        Raises
        ------
        InvalidInputError
            The service refuses: it is not the API, or not for this caller.
        UnavailableError
            It does not answer, or the series was not found, or not gone, in time.
        ConflictError
            A file of that name lies in the inbox.
        """
        self._check_health()
        self._upload()
        try:
            searchable_s = self._wait(there=True, what="searchable")
            self.tell(f"searchable after {searchable_s:.1f} s")
            search_s = self._search()
            self.tell(f'found by "{QUESTION}" in {search_s:.1f} s')
        finally:
            self._delete()
        gone_s = self._wait(there=False, what="gone")
        self.tell(f"deleted, and gone after {gone_s:.1f} s")
        return Smoke(
            series_instance_uid=self.sample.series_instance_uid,
            searchable_s=searchable_s,
            search_s=search_s,
            gone_s=gone_s,
        )

    def _check_health(self) -> None:
        """Before anything is uploaded; an app that is starting is waited for."""
        started_s = self.clock.now_s()
        while True:
            answer = self.service.ask("GET", "/api/health")
            if answer.status == _OK and answer.body.get("status") == "ok":
                # So that a caller who may not ask is told before a file is uploaded.
                self._is_there()
                self.tell("the app answers")
                return
            if answer.status in _REFUSED:
                raise _refusal(answer)
            if answer.status and answer.status not in _BUSY:
                raise InvalidInputError(
                    f"the endpoint is not that of dicom-indexer: /api/health gives {_told(answer)}"
                )
            if self.clock.now_s() - started_s >= self.limit_s:
                raise UnavailableError(
                    f"the endpoint did not answer within {self.limit_s:g} s: {_told(answer)}"
                )
            self.pause(self.poll_s)

    def _upload(self) -> None:
        name = self.sample.name
        try:
            written = self.inbox.put_if_absent(name, self.sample.data)
        except BaseException:  # it may have come about all the same
            self._delete()
            raise
        if isinstance(written, PreconditionFailed):
            raise ConflictError(f"{name} lies in the inbox already")
        self.tell(f"uploaded {name}")

    def _delete(self) -> None:
        try:
            self.inbox.delete(self.sample.name)
        except IndexerError as error:
            raise UnavailableError(
                f"delete {self.sample.name} in the inbox yourself: {error}"
            ) from error

    def _wait(self, *, there: bool, what: str) -> float:
        started_s = self.clock.now_s()
        while True:
            found, answer = self._is_there()
            elapsed_s = self.clock.now_s() - started_s
            if found is there:
                return elapsed_s
            if elapsed_s >= self.limit_s:
                raise UnavailableError(
                    f"the uploaded series was not {what} within {self.limit_s:g} s; the API last "
                    f"gave {_told(answer)}. See the queues and the log of the app and the worker"
                )
            self.pause(self.poll_s)

    def _is_there(self) -> tuple[bool | None, Answered]:
        """Whether the series can be found; None where the service cannot tell now."""
        answer = self.service.ask("GET", f"/api/series/{self.sample.series_instance_uid}")
        if answer.status == _OK:
            return True, answer
        if answer.status == _ABSENT and answer.code == "notFound":
            return False, answer
        if answer.status == 0 or answer.status in _BUSY:
            return None, answer
        raise _refusal(answer)

    def _search(self) -> float:
        started_s = self.clock.now_s()
        uid = self.sample.series_instance_uid
        body = {"text": QUESTION, "filters": [f"seriesInstanceUid={uid}"], "top": 1}
        while True:
            answer = self.service.ask("POST", "/api/search", body)
            elapsed_s = self.clock.now_s() - started_s
            if answer.status in _REFUSED:
                raise _refusal(answer)
            if answer.status == _OK:
                break
            is_trouble = answer.status == 0 or answer.status in _BUSY
            if not is_trouble or elapsed_s >= self.limit_s:
                raise UnavailableError(f"the series is there, but a search gave {_told(answer)}")
            self.pause(self.poll_s)
        if _found(answer) != [uid]:
            raise UnavailableError("the series is there, but a search for it does not find it")
        return elapsed_s


def _found(answer: Answered) -> list[object]:
    """Series of an answer; of one that is of another form, nothing that a series could be."""
    hits = answer.body.get("value")
    if not isinstance(hits, list):
        return []
    return [hit.get("seriesInstanceUid") if isinstance(hit, dict) else None for hit in hits]


def _refusal(answer: Answered) -> InvalidInputError:
    if answer.status in _REFUSED | _SIGN_IN:
        return InvalidInputError(
            f"the endpoint refuses this caller ({_told(answer)}): set DICOM_INDEXER_KEY to a "
            "function key, or DICOM_INDEXER_TOKEN to a token of someone who may see the scope"
        )
    return InvalidInputError(f"the endpoint does not answer as dicom-indexer does: {_told(answer)}")


def _told(answer: Answered) -> str:
    if not answer.status:
        return answer.code
    return f"HTTP {answer.status}{f' {answer.code}' if answer.code else ''}"


def made_up_sample(folder: str = "") -> Sample:
    """A T1-weighted MR slice of nobody's head, new each time.

    Parameters
    ----------
    folder
        What its name begins with, ``/`` at its end, or nothing.
    """
    import io

    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

    fresh = uuid.uuid4()
    series = f"2.25.{fresh.int}"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"2.25.{uuid.uuid4().int}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sample = Dataset()
    sample.file_meta = meta
    sample.SOPClassUID = meta.MediaStorageSOPClassUID
    sample.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    sample.StudyInstanceUID = f"2.25.{uuid.uuid4().int}"
    sample.SeriesInstanceUID = series
    sample.PatientID = "dicom-indexer smoke test"
    sample.Modality = "MR"
    sample.BodyPartExamined = "BRAIN"
    sample.SeriesDescription = "AX T1"
    sample.ImageType = ["DERIVED", "SECONDARY"]
    sample.InstanceNumber = 1
    sample.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    sample.ImagePositionPatient = [0, 0, 0]
    sample.PixelSpacing = [1, 1]
    sample.SliceThickness = 5
    sample.RepetitionTime, sample.EchoTime = 500, 10
    sample.Rows = sample.Columns = 64
    sample.SamplesPerPixel = 1
    sample.PhotometricInterpretation = "MONOCHROME2"
    sample.BitsAllocated = sample.BitsStored = 16
    sample.HighBit = 15
    sample.PixelRepresentation = 0
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype("<u2")
    sample.PixelData = ramp.tobytes()
    buffer = io.BytesIO()
    sample.save_as(buffer, enforce_file_format=True)
    name = f"{folder}dicom-indexer-smoke-{fresh.hex}.dcm"
    return Sample(name=name, data=buffer.getvalue(), series_instance_uid=series)
