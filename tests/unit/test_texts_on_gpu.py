"""The text tower of a pixel model on a GPU takes the place of the export of the same encoder."""

import numpy as np
import pytest

from gpu_worker.classifying import SeriesEncoder, TwoTowers
from gpu_worker.pixel_models import PixelModel, texts_by
from gpu_worker.pixel_settings import PixelSettings
from gpu_worker.timing import Timings
from indexer_core.errors import InvalidInputError
from indexer_core.pixels.recipe import PixelRecipe


class Texts:
    """Tells by its vectors who made them."""

    dimension = 2
    recipe = PixelRecipe()

    def __init__(self, encoder_id: str, number: float) -> None:
        self.encoder_id = encoder_id
        self.number = number

    def encode(self, texts):
        return np.full((len(texts), 2), self.number, dtype=np.float32)


def model(encoder_id: str, *, on_gpu: bool = True) -> PixelModel:
    tower = Texts(encoder_id, 2.0)
    eye = TwoTowers(Texts("image", 0.0), tower, scale=1.0, wording="biomedclip", on_gpu=on_gpu)
    return PixelModel(
        classifier=None,
        encoder=SeriesEncoder(eye),
        close=lambda: None,
        texts=eye.texts if on_gpu else None,
    )


@pytest.mark.parametrize(
    ("found", "made_by"),
    [
        (model("biomedclip/a"), 2.0),
        (model("biomedclip/a", on_gpu=False), 1.0),
        (model("biomedclip/b"), 1.0),  # other weights
        (None, 1.0),
    ],
)
def test_texts_are_embedded_on_the_gpu_where_it_is_the_same_encoder(found, made_by):
    export = Texts("biomedclip/a", 1.0)
    encoder = texts_by(lambda encoder_id: found)(export)
    timings = Timings()
    with timings.running():
        vectors = encoder.encode(["one", "two"])
    assert (encoder.encoder_id, vectors.tolist()) == (export.encoder_id, [[made_by] * 2] * 2)
    assert (timings.gpu_s > 0) is (made_by == 2.0)  # told as seconds of the GPU


def test_a_model_is_not_asked_for_until_there_is_a_text():
    def gone(encoder_id):
        raise InvalidInputError("the weights have gone")

    encoder = texts_by(gone)(Texts("biomedclip/a", 1.0))
    assert encoder.encode([]).shape == (0, 2)
    with pytest.raises(InvalidInputError):
        encoder.encode(["one"])


@pytest.mark.parametrize(
    ("kind", "encoder_id", "may"),
    [
        ("biomedclip", "biomedclip/a/tokens256-cls-l2", True),
        ("biomedclip", "minilm-l6-v2/x", False),
        ("biomedclip", "biomedclip-image/a", False),
        ("descriptor", "biomedclip/a/tokens256-cls-l2", False),
    ],
)
def test_a_model_is_opened_for_texts_only_where_it_may_have_made_them(kind, encoder_id, may):
    assert PixelSettings(kind=kind, place="x").may_have_read(encoder_id) is may
