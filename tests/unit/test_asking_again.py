"""A pixel model is asked about series that were indexed before it was there."""

from dataclasses import replace

import numpy as np
import pytest

from gpu_worker.asking_again import Asked, ask_again, unasked
from indexer_core.errors import InvalidInputError, UnavailableError
from tests.support.convinced import LABELS, Convinced, convinced_classifier
from tests.support.pipeline import Inline, Pipeline, slice_of

SLICES = np.zeros((3, 16, 16), dtype=np.float32)


@pytest.fixture
def eye():
    return Convinced("brain axial")


@pytest.fixture
def pipeline():
    """Two series of CT, one of MR and one without pixels, indexed without a pixel model."""
    pipeline = Pipeline()
    for name, more in {
        "a": {"SeriesDescription": "series 7"},
        "b": {"SeriesDescription": "Knee"},
        "m": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"},
        "r": {"pixels": False},
    }.items():
        pipeline.upload(f"{name}.dcm", slice_of(series=name, **more))
    pipeline.settle(pipeline.process())
    return pipeline


def ask(pipeline, classifier, slices_of=lambda row: SLICES) -> list[Asked]:
    indexer = pipeline.process().opened()
    rows = unasked(indexer, classifier)
    return list(ask_again(rows, indexer, classifier, slices_of, Inline()))


def regions(pipeline) -> dict[str, str]:
    return {
        row.record["descriptions"][0]: row.record["bodyRegion"]
        for row in pipeline.live().values()
        if row.record["modality"] == "CT"
    }


def test_what_was_indexed_without_a_model_gets_its_findings(pipeline, eye):
    before = pipeline.live()
    assert ask(pipeline, convinced_classifier(eye)) == [Asked(n_done=2, n_total=2, n_unseen=0)]
    assert eye.n_slices == 6
    assert regions(pipeline) == {"series 7": "head", "Knee": "lower extremity"}
    after = pipeline.live()
    [knee] = [row for row in after.values() if row.record["descriptions"] == ["Knee"]]
    assert "headerPixelDisagreement" in knee.record["flags"]
    for key, row in after.items():
        # It is no new content: revisions and what was made of the pixels stay.
        assert (row.revision, row.digest) == (before[key].revision, before[key].digest)
        assert row.image_count == before[key].image_count
    assert pipeline.image_encoder.n_series == 3
    assert pipeline.problems() == []


def test_nobody_is_asked_twice_until_the_labels_change(pipeline, eye):
    classifier = convinced_classifier(eye)
    ask(pipeline, classifier)
    n_commits = pipeline.n_commits()
    assert ask(pipeline, classifier) == []
    assert pipeline.n_commits() == n_commits
    other = replace(LABELS, thresholds={"bodyRegion": 0.9999, "plane": 0.9999})
    assert ask(pipeline, convinced_classifier(eye, other))[-1].n_done == 2


def test_a_series_whose_pixels_are_gone_keeps_its_row(pipeline, eye):
    def slices_of(row):
        return None if row.record["descriptions"] == ["Knee"] else SLICES

    assert ask(pipeline, convinced_classifier(eye), slices_of)[-1].n_unseen == 1
    assert regions(pipeline) == {"series 7": "head", "Knee": "lower extremity"}
    assert len(unasked(pipeline.process().opened(), convinced_classifier(eye))) == 1


def test_a_series_that_the_model_has_no_vector_for_holds_up_no_other(pipeline, eye):
    encode = eye.encode_slices

    def but_one(slices):
        if any(image.max() > 0 for image in slices):
            raise InvalidInputError("no vector")
        return encode(slices)

    eye.encode_slices = but_one

    def slices_of(row):
        return SLICES + (row.record["descriptions"] == ["Knee"])

    assert ask(pipeline, convinced_classifier(eye), slices_of)[-1].n_unseen == 1
    assert regions(pipeline)["series 7"] == "head"


def test_a_model_that_goes_away_ends_it_and_what_was_found_is_kept(pipeline, eye, monkeypatch):
    monkeypatch.setattr("gpu_worker.asking_again.TOGETHER", 1)
    classifier = convinced_classifier(eye)
    indexer = pipeline.process().opened()
    asking = ask_again(
        unasked(indexer, classifier), indexer, classifier, lambda row: SLICES, Inline()
    )
    assert next(asking).n_done == 1
    eye.error = UnavailableError("scaling")
    with pytest.raises(UnavailableError):
        next(asking)
    eye.error = None
    assert len(unasked(indexer, classifier)) == 1
    assert ask(pipeline, classifier)[-1].n_total == 1


def test_a_revision_that_came_meanwhile_is_not_overwritten(pipeline, eye):
    classifier = convinced_classifier(eye)
    indexer = pipeline.process().opened()
    rows = unasked(indexer, classifier)
    pipeline.upload("b.dcm", slice_of(series="b", SeriesDescription="Chest", value=5))
    pipeline.settle(pipeline.process())
    list(ask_again(rows, indexer, classifier, lambda row: SLICES, Inline()))
    assert regions(pipeline) == {"series 7": "head", "Chest": "chest"}
    assert pipeline.problems() == []


def test_a_deleted_series_is_not_asked_about(pipeline, eye):
    indexer = pipeline.process().opened()
    indexer.suppress(frozenset(pipeline.live()))
    assert unasked(indexer, convinced_classifier(eye)) == []
