"""The worker's loop with a pixel model: findings in the rows, and what becomes of them later."""

import pytest

from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.facts import series_from_json
from tests.support.convinced import Convinced, convinced_classifier
from tests.support.pipeline import Pipeline, renamed_describer, slice_of

FLAG = "headerPixelDisagreement"
MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def pipeline():
    return Pipeline()


@pytest.fixture
def eye():
    return Convinced("brain axial")


def working(pipeline, eye):
    return pipeline.process(classifier=convinced_classifier(eye))


def upload(pipeline, series, description, **more):
    data = slice_of(series=series, Modality="CT", SeriesDescription=description, **more)
    pipeline.upload(f"{series}.dcm", data)


def records(pipeline):
    found = pipeline.live().values()
    return {row.record["descriptions"][0]: row.record for row in found}


def test_what_the_pixels_show_is_in_the_rows(pipeline, eye):
    upload(pipeline, "a", "series 7")
    upload(pipeline, "b", "Knee")
    pipeline.settle(working(pipeline, eye))
    found = records(pipeline)
    unsaid, knee = found["series 7"], found["Knee"]
    assert unsaid["bodyRegion"] == "head"
    assert unsaid["evidence"]["bodyRegion"]["source"] == "model:convinced"
    assert FLAG not in unsaid["flags"]
    assert knee["bodyRegion"] == "lower extremity"
    assert FLAG in knee["flags"]
    sides = {vote["source"]: vote["value"] for vote in knee["evidence"]["bodyRegion"]["votes"]}
    assert sides["model:convinced"] == "head"
    assert sides["SeriesDescription"] == "lower extremity"
    assert knee["evidence"]["pixelBodyRegion"]["confidence"] > 0.9


def test_reprocessing_keeps_findings_and_looks_at_no_pixel(pipeline, eye):
    upload(pipeline, "b", "Knee")
    pipeline.settle(working(pipeline, eye))
    [before] = pipeline.live().values()
    n_slices, n_series = eye.n_slices, pipeline.image_encoder.n_series
    pipeline.describer = renamed_describer("other rules")
    # A program without a pixel model, as the functions are.
    indexer = pipeline.process().opened()
    indexer.reprocess(list(indexer.outdated()))
    [after] = pipeline.live().values()
    assert after.recipe > before.recipe
    assert after.record == before.record
    assert after.facts == before.facts
    assert series_from_json(after.facts).findings[0].value == "head"
    assert (eye.n_slices, pipeline.image_encoder.n_series) == (n_slices, n_series)


def test_findings_belong_to_a_revision(pipeline, eye):
    upload(pipeline, "b", "Knee")
    pipeline.settle(working(pipeline, eye))
    eye.text = "knee axial"
    upload(pipeline, "b", "Knee", value=9)
    pipeline.settle(working(pipeline, eye))
    record = records(pipeline)["Knee"]
    assert FLAG not in record["flags"]
    assert record["evidence"]["pixelBodyRegion"]["value"] == "lower extremity"


def test_a_series_without_pixels_or_labels_has_no_findings(pipeline, eye):
    upload(pipeline, "a", "Report", pixels=False)
    pipeline.upload("m.dcm", slice_of(series="m", SOPClassUID=MR, SeriesDescription="Head"))
    pipeline.settle(working(pipeline, eye))
    for record in records(pipeline).values():
        assert not [name for name in record["evidence"] if name.startswith("pixel")]
    assert eye.n_slices == 0


def test_a_model_that_cannot_answer_holds_the_series_back_and_blames_none(pipeline, eye):
    upload(pipeline, "b", "Knee")
    eye.error = UnavailableError("scaling")
    process = working(pipeline, eye)
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    for _ in range(8):  # more often than a series may fail
        assert set(process.work().outcomes.values()) == {"unavailable"}
        pipeline.clock.advance(700.0)
    eye.error = None
    pipeline.settle(process)
    assert FLAG in records(pipeline)["Knee"]["flags"]
    assert pipeline.rejects("series") == []


def test_a_picture_that_the_model_has_no_vector_for_sets_its_series_aside(pipeline, eye):
    upload(pipeline, "b", "Knee")
    eye.error = InvalidInputError("1 of 1 image_features are no vectors of numbers")
    process = working(pipeline, eye)
    pipeline.settle(process)
    [reject] = pipeline.rejects("series")
    assert "no vectors of numbers" in reject["reason"]
