"""What is seen of series: alone or in a batch, by one encoder or two, with findings or without."""

import numpy as np
import pytest

from gpu_worker.classifying import SeriesEncoder, ZeroShotClassifier
from gpu_worker.seeing import Seen, Sight, Subject, see
from indexer_core.errors import UnavailableError
from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.zero_shot import Label, LabelSet
from tests.support.segments import unit_vectors

RECIPE = PixelRecipe()
LARGE = PixelRecipe(rows=480, columns=480)


class Eye:
    """Unit vectors that follow from the pixels."""

    dimension = 6

    def __init__(self, encoder_id: str, recipe: PixelRecipe = RECIPE) -> None:
        self.encoder_id = encoder_id
        self.recipe = recipe
        self.n_calls = 0

    def encode(self, stacks):
        self.n_calls += 1
        return np.concatenate(
            [
                unit_vectors(self.encoder_id + str(stack.sum()), 1, self.dimension)
                for stack in stacks
            ]
        )


class Blind(Eye):
    def encode(self, stacks):
        raise ValueError("cannot see")


class Reader:
    """Sees and reads: a picture is named by its brightest value, a text by itself."""

    encoder_id = "reader"
    dimension = 16
    recipe = RECIPE
    wording = "medimageinsight"
    scale = 90.0
    names = ("abdomen axial", "brain coronal", "knee sagittal")

    def __init__(self) -> None:
        self.n_slices = 0

    def encode_slices(self, slices):
        self.n_slices += len(slices)
        number = [round(float(image.max()) * 10) for image in slices]
        return np.concatenate([self.encode_labels([self.names[n]]) for n in number])

    def encode_labels(self, texts):
        return np.concatenate([unit_vectors(text, 1, self.dimension) for text in texts])


LABELS = LabelSet(
    labels=tuple(
        Label(texts=(name,), region=region, plane=name.split()[1])
        for name, region in zip(Reader.names, ("abdomen", "head", "lower extremity"), strict=True)
    ),
    thresholds={"bodyRegion": 0.5, "plane": 0.5},
)


def classifier(eye: Reader) -> ZeroShotClassifier:
    return ZeroShotClassifier(eye, {"CT": LABELS}, encode_labels=eye.encode_labels, name="reader")


def showing(*numbers: int, modality: str = "CT") -> Subject:
    """Slices that show what the reader's names say."""
    slices = np.stack([np.full((4, 4), number / 10, dtype=np.float32) for number in numbers])
    return Subject(stacks={RECIPE: slices}, modality=modality)


def subjects(n: int) -> list[Subject]:
    random = np.random.default_rng(5)
    return [
        Subject(
            stacks={RECIPE: random.random((1 + i % 3, 8, 8), dtype=np.float32) / 5}, modality="CT"
        )
        for i in range(n)
    ]


def same(some: Seen, other: Seen) -> bool:
    return (
        some.findings == other.findings
        and some.images.keys() == other.images.keys()
        and all(np.array_equal(some.images[name], other.images[name]) for name in some.images)
    )


def test_a_batch_sees_of_each_what_it_sees_of_it_alone():
    eye = Reader()
    sight = Sight(encoders=(Eye("a"), Eye("b")), wanted=("a", "b"), classifier=classifier(eye))
    batch = [*subjects(5), showing(1, modality="US"), showing(2, 2)]
    together = see(batch, sight)
    assert all(
        same(found, see([one], sight)[0]) for one, found in zip(batch, together, strict=True)
    )
    assert [len(found.findings) for found in together] == [2] * 5 + [0, 2]


def test_findings_follow_the_slices_of_each_subject():
    sight = Sight(encoders=(Eye("a"),), wanted=("a",), classifier=classifier(Reader()))
    found = see([showing(0), showing(1, 1, 2), showing(2)], sight)
    values = [[finding.value for finding in one.findings] for one in found]
    assert values == [["abdomen", "axial"], ["head", "coronal"], ["lower extremity", "sagittal"]]
    assert [finding.n_agreeing for finding in found[1].findings] == [2, 2]
    assert found[0].findings[0].source == "model:reader"


def test_a_model_that_makes_vectors_and_findings_looks_at_each_slice_once():
    eye = Reader()
    series = SeriesEncoder(eye)
    sight = Sight(encoders=(series,), wanted=("reader",), classifier=classifier(eye))
    batch = [showing(0, 1), showing(2, modality="US")]
    found = see(batch, sight)
    assert eye.n_slices == 3
    assert [len(one.findings) for one in found] == [2, 0]
    expected = series.encode([subject.stacks[RECIPE] for subject in batch])
    np.testing.assert_array_equal([one.images["reader"] for one in found], expected)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)


def test_an_export_of_the_model_that_names_pictures_is_not_run_beside_it():
    eye = Reader()
    export = Blind(eye.encoder_id)
    sight = Sight(encoders=(export,), wanted=(eye.encoder_id,), classifier=classifier(eye))
    [found] = see([showing(0, 1)], sight)
    expected = SeriesEncoder(eye).encode([showing(0, 1).stacks[RECIPE]])[0]
    np.testing.assert_array_equal(found.images[eye.encoder_id], expected)
    assert eye.n_slices == 4  # two of them just now


def test_slices_that_nothing_is_asked_about_are_not_looked_at():
    eye = Reader()
    sight = Sight(encoders=(Eye("a"),), wanted=("a",), classifier=classifier(eye))
    see([showing(0), showing(1, 1, modality="US")], sight)
    assert eye.n_slices == 1


def test_labels_are_asked_for_once():
    asked = []

    def encode_labels(texts):
        asked.append(tuple(texts))
        return Reader().encode_labels(texts)

    one = ZeroShotClassifier(Reader(), {"CT": LABELS}, encode_labels=encode_labels, name="r")
    sight = Sight(encoders=(Eye("a"),), wanted=("a",), classifier=one)
    assert asked == []
    for _ in range(3):
        see([showing(0)], sight)
    assert asked == [LABELS.texts]


def test_encoders_that_the_index_does_not_ask_for_are_not_run():
    unasked = Eye("c")
    [found] = see(subjects(1), Sight(encoders=(Eye("a"), unasked), wanted=("a", "b")))
    assert set(found.images) == {"a"}
    assert unasked.n_calls == 0
    assert found.findings == ()


def test_each_is_given_the_slices_that_it_wants():
    small, large = np.zeros((2, 4, 4), np.float32), np.zeros((2, 9, 9), np.float32)
    given = {}

    class Keeping(Eye):
        def encode(self, stacks):
            given[self.encoder_id] = [stack.shape for stack in stacks]
            return super().encode(stacks)

    eye = Reader()
    eye.recipe = LARGE
    sight = Sight(
        encoders=(Keeping("b", LARGE), Keeping("a")),
        wanted=("a", "b"),
        classifier=classifier(eye),
    )
    assert sight.recipes("CT") == sight.recipes("US") == (RECIPE, LARGE)  # the live one's first
    [found] = see([Subject(stacks={RECIPE: small, LARGE: large}, modality="CT")], sight)
    assert given == {"a": [(2, 4, 4)], "b": [(2, 9, 9)]}
    assert len(found.findings) == 2


def test_only_recipes_of_those_who_look_are_prepared():
    eye = Reader()
    eye.recipe = LARGE
    encoders = (Eye("a"), Eye("c", PixelRecipe(rows=8)))
    sight = Sight(encoders=encoders, wanted=("a", "b"), classifier=classifier(eye))
    assert sight.recipes("US") == (RECIPE,)
    assert sight.recipes("CT") == (RECIPE, LARGE)
    assert sight.series_bytes == RECIPE.stack_bytes + LARGE.stack_bytes == 4 * 3 * (256**2 + 480**2)
    assert Sight(encoders=encoders, wanted=("x",)).recipes("CT") == ()


def test_slices_that_were_prepared_before_the_index_changed_its_encoder_come_back():
    encoders = (Eye("a"), Eye("b", LARGE))
    with pytest.raises(UnavailableError, match="another image encoder"):
        see(subjects(2), Sight(encoders=encoders, wanted=("b",)))
    # One that is being built is not waited for.
    found = see(subjects(2), Sight(encoders=encoders, wanted=("a", "b")))
    assert [set(one.images) for one in found] == [{"a"}, {"a"}]


def test_nothing_to_see_asks_nobody():
    assert see([], Sight(encoders=(Blind("a"),), wanted=("a",))) == []


def test_an_encoder_that_is_being_built_holds_up_nobody():
    found = see(subjects(2), Sight(encoders=(Eye("a"), Blind("b")), wanted=("a", "b")))
    assert [set(one.images) for one in found] == [{"a"}, {"a"}]


def test_the_live_encoder_is_not_gone_without():
    with pytest.raises(UnavailableError, match="uses now"):
        see(subjects(1), Sight(encoders=(Eye("b"),), wanted=("a", "b")))
    with pytest.raises(ValueError, match="cannot see"):
        see(subjects(1), Sight(encoders=(Blind("a"),), wanted=("a",)))
