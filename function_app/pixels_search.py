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
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.ports import ImageTextEncoder, TextEncoder
from indexer_core.search import Hit
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.vector_index import Chosen, Vector, VectorIndex


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
    index: VectorIndex,
    image_texts: ImageTextEncoder | None,
    encoder: TextEncoder | None,
    template_names: Sequence[str],
) -> dict[str, Any]:
    """Answer a request from one state of an index.

    Parameters
    ----------
    image_texts
        Puts words into the image space of the index; None where this program has none.
    encoder
        Of the texts of the index; only needed `with_texts`.

    Returns
    -------
    dict
        As `function_app.similar.similar`, without `like`. With texts, each hit's `score` is of the
        fusion, `why.foundBy` says by what it was found, and `why` holds `similarity` (of texts) and
        `pixelSimilarity`, null where it was not found by that.

    Raises
    ------
    InvalidInputError
        As `PixelsSearchRequest.check` and `cursor_of_page`, or the texts of the index are of
        another encoder.
    EncoderUnavailableError
        The image space has no text tower here.
    """
    request.check()
    tower = needed_image_texts(index.state.image_encoder, image_texts)
    chosen = index.select(request.conditions)
    text = request.text.strip()
    vectors = tower.encode([text])
    if request.with_texts:
        by_texts = _by_texts(text, index, chosen, encoder, exact=request.exact)
        found = _fused(by_texts, vectors, request, index, chosen, template_names)
    else:
        found = like_vectors(
            vectors,
            index,
            chosen,
            conditions=request.conditions,
            page=request.page,
            question=request.question,
            exact=request.exact,
        )
    return {**found, "interpretation": {"text": text, **found["interpretation"]}}


def _fused(
    by_texts: Sequence[Hit],
    vectors: Vector,
    request: PixelsSearchRequest,
    index: VectorIndex,
    chosen: Chosen,
    template_names: Sequence[str],
) -> dict[str, Any]:
    precision = index.precision(IMAGE_SPACE, exact=request.exact)
    by_pixels = chosen.by_images(vectors[0], DEPTH, exact=precision.exact)
    found = fused({TEXT: by_texts, PIXELS: by_pixels})

    def show(hit: Hit) -> dict[str, Any]:
        return _hit(hit, index, request.conditions, found, template_names)

    answer = {
        **page_json(
            index.state, chosen, lambda n: found.hits[:n], request.page, request.question, show
        ),
        "imageEncoder": index.state.image_encoder,
        "interpretation": interpretation_json(request.conditions, chosen),
        "exact": precision.exact,
        "recall": precision.recall,
    }
    index.confirm()
    return answer


def _by_texts(
    text: str,
    index: VectorIndex,
    chosen: Chosen,
    encoder: TextEncoder | None,
    *,
    exact: bool | None,
) -> list[Hit]:
    if encoder is None:
        raise InvalidInputError("this index cannot be searched by texts here: leave them out")
    precision = index.precision(TEXT_SPACE, exact=exact)
    vector = encoder.encode([text])[0]
    return chosen.by_words(text, vector, DEPTH, exact=precision.exact)


def _hit(
    hit: Hit,
    index: VectorIndex,
    conditions: Conditions,
    found: Fused,
    template_names: Sequence[str],
) -> dict[str, Any]:
    by = found.by[hit.key]
    shown = image_hit_json(hit, index, conditions)
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
