"""A pixel model that is convinced of one thing, and a label set for it."""

import numpy as np

from gpu_worker.classifying import ZeroShotClassifier
from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.zero_shot import Label, LabelSet
from tests.support.segments import unit_vectors

LABELS = LabelSet(
    labels=(
        Label(texts=("brain axial",), region="head", plane="axial"),
        Label(texts=("knee axial",), region="lower extremity", plane="axial"),
        Label(texts=("page of text",)),
    ),
    thresholds={"bodyRegion": 0.5, "plane": 0.5},
)


class Convinced:
    """Sees the same on every picture."""

    encoder_id = "convinced"
    dimension = 16
    recipe = PixelRecipe()
    wording = "medimageinsight"
    scale = 90.0

    def __init__(self, text: str) -> None:
        self.text = text
        self.n_slices = 0
        self.error: Exception | None = None

    def encode_slices(self, slices):
        if self.error is not None:
            raise self.error
        self.n_slices += len(slices)
        return self.encode_labels([self.text] * len(slices))

    def encode_labels(self, texts):
        return np.concatenate([unit_vectors(text, 1, self.dimension) for text in texts])


def convinced_classifier(eye: Convinced, labels: LabelSet = LABELS) -> ZeroShotClassifier:
    return ZeroShotClassifier(
        eye, {"CT": labels}, encode_labels=eye.encode_labels, name="convinced"
    )
