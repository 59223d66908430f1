"""Look-alikes as the API answers them; the command line prints the same values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from function_app.pages import FIRST_PAGE, PageRequest, conditions_json, page_json
from indexer_core.errors import InvalidInputError
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.search import Hit
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.uploads import MAX_UPLOAD_BYTES, UploadReader
from indexer_core.vector_index import Chosen, Vector, VectorIndex

MAX_UID_CHARACTERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRequest:
    """What is asked: series that look like those with this Series Instance UID or series key.

    Parameters
    ----------
    conditions
        What the look-alikes have to meet. The series that is named need not, but for its scope.
    exact
        As in `function_app.search.SearchRequest`.
    """

    uid: str
    conditions: Conditions = ANYTHING
    page: PageRequest = FIRST_PAGE
    exact: bool | None = None

    def check(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        InvalidInputError
            No UID is given, or the page is out of range.
        """
        if not self.uid.strip() or len(self.uid) > MAX_UID_CHARACTERS:
            raise InvalidInputError("name a series by its Series Instance UID or its series key")
        self.page.check()

    @property
    def question(self) -> dict[str, Any]:
        """All that decides the answer."""
        return {"similar": self.uid.strip(), **conditions_json(self.conditions)}


def similar(request: SimilarRequest, index: VectorIndex) -> dict[str, Any]:
    """Answer a request from one state of an index; the series that is named is no answer itself.

    Returns
    -------
    dict
        As `function_app.pages.page_json`; `like`: keys of the series that are named;
        `imageEncoder`; `interpretation`, `exact` and `recall` as in a search. `count` is of those
        that have an image.

    Raises
    ------
    NotFoundError
        There is no such series.
    InvalidInputError
        It has no image, or as `SimilarRequest.check` and `cursor_of_page`.
    """
    request.check()
    named = index.pictured(request.uid.strip(), request.conditions.scopes)
    found = like_vectors(
        named.vectors,
        index,
        index.select(request.conditions).without(named.keys),
        conditions=request.conditions,
        page=request.page,
        question=request.question,
        exact=request.exact,
    )
    return {**found, "like": list(named.keys)}


def like_vectors(
    vectors: Vector,
    index: VectorIndex,
    chosen: Chosen,
    *,
    conditions: Conditions,
    page: PageRequest,
    question: Mapping[str, Any],
    exact: bool | None,
) -> dict[str, Any]:
    """Those chosen that are nearest to any of some vectors of the live image space."""
    precision = index.precision(IMAGE_SPACE, exact=exact)

    def ranking(n: int) -> list[Hit]:
        return chosen.like(vectors, n, exact=precision.exact)

    found = page_json(
        index.state,
        chosen.with_images(),
        ranking,
        page,
        question,
        lambda hit: image_hit_json(hit, index, conditions),
    )
    answer = {
        **found,
        "imageEncoder": index.state.image_encoder,
        "interpretation": interpretation_json(conditions, chosen),
        "exact": precision.exact,
        "recall": precision.recall,
    }
    index.confirm()
    return answer


def interpretation_json(conditions: Conditions, chosen: Chosen) -> dict[str, Any]:
    """What was asked of fields, and how many series were left out for not telling."""
    return {
        "filters": [{**asdict(each), "values": list(each.values)} for each in conditions.filters],
        "unknown": dict(chosen.unknown),
    }


def image_hit_json(hit: Hit, index: VectorIndex, conditions: Conditions) -> dict[str, Any]:
    """A series found by its pixels: its record, and why it was found."""
    record = index.record(hit)
    evidence = record.pop("evidence", {})
    record.pop("texts", None)
    why = {
        "foundBy": ["pixels"],
        "similarity": round(hit.similarity, 4),
        "filters": [str(condition) for condition in conditions.filters],
        "evidence": {
            field: {key: said[key] for key in ("value", "source", "confidence")}
            for field, said in evidence.items()
        },
        "flags": record.get("flags", []),
    }
    first = {key: record.pop(key) for key in ("seriesInstanceUid", "studyInstanceUid")}
    return {**first, "score": round(hit.score, 4), "why": why, **record}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """What is asked: series that look like an uploaded DICOM object, PNG or JPEG file.

    Parameters
    ----------
    data
        The bytes of the file; never shown, logged or kept. A further page needs them again.
    """

    data: bytes = field(repr=False)
    conditions: Conditions = ANYTHING
    page: PageRequest = FIRST_PAGE
    exact: bool | None = None

    def check(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        InvalidInputError
            The upload is too large, or the page is out of range.
        """
        if len(self.data) > MAX_UPLOAD_BYTES:
            raise InvalidInputError(f"the upload has more than {MAX_UPLOAD_BYTES >> 20} MiB")
        self.page.check()

    @property
    def question(self) -> dict[str, Any]:
        """All that decides the answer."""
        digest = sha256(self.data).hexdigest()
        return {"upload": digest, **conditions_json(self.conditions)}


def similar_to_upload(
    request: UploadRequest, index: VectorIndex, reader: UploadReader
) -> dict[str, Any]:
    """As `similar`, for an upload; a series that was indexed from it is found as well.

    Raises
    ------
    InvalidInputError
        The upload cannot be seen, or as `UploadRequest.check` and `cursor_of_page`.
    EncoderUnavailableError
        This program lacks the image encoder of the index.
    """
    request.check()
    vector = reader.vector(request.data, index.state.image_encoder)
    found = like_vectors(
        vector[None],
        index,
        index.select(request.conditions),
        conditions=request.conditions,
        page=request.page,
        question=request.question,
        exact=request.exact,
    )
    return {**found, "like": []}
