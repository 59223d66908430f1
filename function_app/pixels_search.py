"""Words compared with pictures, alone or together with texts, as the API answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from function_app.pages import FIRST_PAGE, PageRequest, check_text, conditions_json, page_json
from function_app.ranking import PIXELS, TEXT
from function_app.similar import image_hit_json, interpretation_json, like_vectors
from indexer_core.errors import InvalidInputError
from indexer_core.fusion import DEPTH, Fused, fused
from indexer_core.image_texts import needed_image_texts
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.ports import ImageTextEncoder, TextEncoder
from indexer_core.search import Hit, precision_of, search_images, search_words
from indexer_core.selection import ANYTHING, Conditions, Selection, select
from indexer_core.similar import Vectors, image_encoder_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelsSearchRequest:
    """What is asked: series whose pictures look like what the words say.

    Parameters
    ----------
    with_texts
        Whether series are ranked by their texts as well, and both rankings made one.
    """

    text: str
    conditions: Conditions = ANYTHING
    page: PageRequest = FIRST_PAGE
    with_texts: bool = True
    exact: bool | None = None

    def check(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        InvalidInputError
            The text is empty or too long, or the page is out of range.
        """
        check_text(self.text, "say what the pictures show, for example: fracture of the wrist")
        self.page.check()

    @property
    def question(self) -> dict[str, Any]:
        """All that decides the answer."""
        return {
            "pixels": self.text.strip(),
            "withTexts": self.with_texts,
            **conditions_json(self.conditions),
        }


def pixels_search(
    request: PixelsSearchRequest,
    snapshot: Snapshot,
    image_texts: ImageTextEncoder | None,
    encoder: TextEncoder | None,
    template_names: Sequence[str],
) -> dict[str, Any]:
    """Answer a request from one snapshot.

    Parameters
    ----------
    image_texts
        Puts words into the image space of the snapshot; None where this program has none.
    encoder
        Of the texts of the snapshot; only needed `with_texts`.

    Returns
    -------
    dict
        As `function_app.similar.similar`, without `like`. With texts, each hit's `score` is of the
        fusion, `why.foundBy` says by what it was found, and `why` holds `similarity` (of texts) and
        `pixelSimilarity`, null where it was not found by that.

    Raises
    ------
    InvalidInputError
        As `PixelsSearchRequest.check` and `cursor_of_page`, or the texts of the snapshot are of
        another encoder.
    EncoderUnavailableError
        The image space has no text tower here.
    """
    request.check()
    tower = needed_image_texts(snapshot, image_texts)
    selection = select(snapshot, request.conditions)
    text = request.text.strip()
    vectors = tower.encode([text])
    if request.with_texts:
        by_texts = _by_texts(text, snapshot, selection, encoder, exact=request.exact)
        found = _fused(by_texts, vectors, request, snapshot, selection, template_names)
    else:
        found = like_vectors(
            vectors,
            snapshot,
            selection,
            conditions=request.conditions,
            page=request.page,
            question=request.question,
            exact=request.exact,
        )
    return {**found, "interpretation": {"text": text, **found["interpretation"]}}


def _fused(
    by_texts: Sequence[Hit],
    vectors: Vectors,
    request: PixelsSearchRequest,
    snapshot: Snapshot,
    selection: Selection,
    template_names: Sequence[str],
) -> dict[str, Any]:
    precision = precision_of(snapshot, exact=request.exact, space_name=IMAGE_SPACE)
    by_pixels = search_images(snapshot, vectors[0], selection, DEPTH, exact=precision.exact)
    found = fused({TEXT: by_texts, PIXELS: by_pixels})

    def show(hit: Hit) -> dict[str, Any]:
        return _hit(hit, snapshot, request.conditions, found, template_names)

    return {
        **page_json(
            snapshot, selection, lambda n: found.hits[:n], request.page, request.question, show
        ),
        "imageEncoder": image_encoder_of(snapshot),
        "interpretation": interpretation_json(request.conditions, selection),
        "exact": precision.exact,
        "recall": precision.recall,
    }


def _by_texts(
    text: str,
    snapshot: Snapshot,
    selection: Selection,
    encoder: TextEncoder | None,
    *,
    exact: bool | None,
) -> list[Hit]:
    if encoder is None:
        raise InvalidInputError("this index cannot be searched by texts here: leave them out")
    precision = precision_of(snapshot, exact=exact)
    vector = encoder.encode([text])[0]
    return search_words(snapshot, text, vector, selection, DEPTH, exact=precision.exact)


def _hit(
    hit: Hit,
    snapshot: Snapshot,
    conditions: Conditions,
    found: Fused,
    template_names: Sequence[str],
) -> dict[str, Any]:
    by = found.by[hit.key]
    shown = image_hit_json(hit, snapshot, conditions)
    pixels = by.get(PIXELS)
    why = {
        **shown["why"],
        "foundBy": list(by),
        "similarity": None,
        "pixelSimilarity": None if pixels is None else round(pixels.similarity, 4),
        **_why_text(by, template_names),
    }
    return {**shown, "score": round(hit.score, 6), "why": why}


def _why_text(by: Mapping[str, Hit], template_names: Sequence[str]) -> dict[str, Any]:
    """What the texts say for it, where it was found by them."""
    hit = by.get(TEXT)
    if hit is None or hit.text is None:
        return {}
    return {
        "similarity": round(hit.similarity, 4),
        "words": list(hit.words),
        "template": template_names[hit.text],
        "text": hit.segment.loaded.rows.texts.texts(hit.row)[hit.text],
    }
