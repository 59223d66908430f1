"""What is seen of series: alone or in a batch, by one encoder or two, with findings or without."""

import numpy as np
import pytest

from gpu_worker.seeing import Seen, Sight, Subject, see
from indexer_core.errors import UnavailableError
from indexer_core.facts import Finding
from tests.support.segments import unit_vectors


class Eye:
    """Unit vectors that follow from the pixels."""

    dimension = 6

    def __init__(self, encoder_id: str) -> None:
        self.encoder_id = encoder_id
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


class Namer:
    """Finds the modality it was told."""

    def classify(self, subjects):
        return [(finding(subject.modality),) for subject in subjects]


def finding(value: str) -> Finding:
    return Finding(
        field="bodyRegion",
        value=value,
        confidence=0.9,
        source="model:namer",
        scores=((value, 0.9),),
        n_slices=1,
        n_agreeing=1,
        labels="l",
    )


def subjects(n: int) -> list[Subject]:
    random = np.random.default_rng(5)
    return [
        Subject(slices=random.random((1 + i % 3, 8, 8), dtype=np.float32), modality=f"M{i}")
        for i in range(n)
    ]


def same(some: Seen, other: Seen) -> bool:
    return (
        some.findings == other.findings
        and some.images.keys() == other.images.keys()
        and all(np.array_equal(some.images[name], other.images[name]) for name in some.images)
    )


def test_a_batch_sees_of_each_what_it_sees_of_it_alone():
    sight = Sight(encoders=(Eye("a"), Eye("b")), wanted=("a", "b"), classifier=Namer())
    batch = subjects(5)
    together = see(batch, sight)
    assert all(
        same(found, see([one], sight)[0]) for one, found in zip(batch, together, strict=True)
    )
    assert [found.findings for found in together] == [(finding(f"M{i}"),) for i in range(5)]


def test_encoders_that_the_index_does_not_ask_for_are_not_run():
    unasked = Eye("c")
    [found] = see(subjects(1), Sight(encoders=(Eye("a"), unasked), wanted=("a", "b")))
    assert set(found.images) == {"a"}
    assert unasked.n_calls == 0
    assert found.findings == ()


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
