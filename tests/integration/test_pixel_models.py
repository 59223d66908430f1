"""`index` with a model that names what is on the pictures: an endpoint, and BiomedCLIP's folder."""

import json
import logging
from importlib.util import find_spec

import numpy as np
import pytest

from gpu_worker.classifying import TwoTowers
from gpu_worker.pixel_models import open_pixel_model
from gpu_worker.pixel_settings import PixelSettings, read_pixel_settings
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from indexer_core.zero_shot import load_labels, shares
from tests.support.cli import uid_of
from tests.support.clip_directory import make_clip_directory
from tests.support.fake_endpoint import KEY, Status, fake_endpoint

BRAIN = "computed tomography brain axial, (CT BRAIN AXIAL)"
FLAG = "headerPixelDisagreement"
BRIGHTEST = 255
SIZE, PROBE = (480, 480), (64, 64)


@pytest.fixture
def endpoint():
    with fake_endpoint() as served:
        yield served


@pytest.fixture
def cli(run, endpoint, monkeypatch):
    """A series of a knee and one that says nothing; the endpoint sees a brain in every picture."""
    endpoint.plant(BRIGHTEST, BRAIN)
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL", endpoint.url)
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL_KEY", KEY)
    run.put("knee/1.dcm", series="knee", SeriesDescription="Knee")
    run.put("unsaid/1.dcm", series="unsaid", SeriesDescription="series 7")
    return run


def shown_to(endpoint):
    """Columns and rows of the pictures since this was last asked, without those of the probe."""
    sizes, endpoint.sizes = endpoint.sizes, []
    return [size for size in sizes if size != PROBE]


def test_an_endpoint_names_what_headers_do_not_and_is_flagged_where_they_differ(cli, endpoint):
    cli.index()
    found = cli.records()
    unsaid, knee = found[uid_of("unsaid")], found[uid_of("knee")]
    assert unsaid["bodyRegion"] == "head"
    assert unsaid["evidence"]["bodyRegion"]["source"] == "model:medimageinsight"
    assert unsaid["evidence"]["pixelBodyRegion"]["confidence"] > 0.9
    assert (knee["bodyRegion"], knee["flags"]) == ("lower extremity", [FLAG])
    hits = cli.search("anything", "--filter", f"flags={FLAG}")["value"]
    assert [hit["seriesInstanceUid"] for hit in hits] == [uid_of("knee")]
    assert "head" in unsaid["texts"][0].lower() + unsaid["texts"][1].lower()
    assert shown_to(endpoint) == [SIZE] * 2


def test_labels_are_asked_for_once_for_all_runs(cli, endpoint):
    cli.index()
    n_labels = sum(r.n_rows for r in endpoint.requests if r.columns == ["text"])
    assert n_labels > 30
    del endpoint.requests[:]
    cli.put("other/1.dcm", series="other", SeriesDescription="series 8")
    cli.index()
    # The probe alone; the labels' vectors lie beside the index.
    assert sum(r.n_rows for r in endpoint.requests if r.columns == ["text"]) == 1
    assert cli.records()[uid_of("other")]["bodyRegion"] == "head"


def test_a_run_without_the_model_keeps_what_it_found(cli, endpoint, monkeypatch, tmp_path):
    cli.index()
    before = cli.records()
    monkeypatch.delenv("DICOM_INDEXER_PIXEL_MODEL")
    rules = tmp_path / "rules.yaml"
    rules.write_text("body_parts: {parts: {knee: {words+: [gonarthro*]}}}\n")
    monkeypatch.setenv("DICOM_INDEXER_RULES", str(rules))
    n_requests = len(endpoint.requests)
    assert cli.run("reprocess") == "reprocessed 2 series\n"
    after = cli.records()
    assert after == before
    assert len(endpoint.requests) == n_requests


def test_a_wrong_key_ends_the_run_with_one_line_and_nothing_is_lost(cli, monkeypatch):
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL_KEY", "wrong-key-71")
    cli.run("index", cli.folder, status=1)
    assert "refuses the key" in cli.error
    assert "wrong-key-71" not in cli.error
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL_KEY", KEY)
    cli.index()
    assert len(cli.records()) == 2


def test_another_model_behind_the_same_address_is_noticed(cli, endpoint, monkeypatch):
    cli.index()
    vectors = endpoint.features
    endpoint.features = lambda image, text: vectors(image, text and text + " retrained")
    cli.put("other/1.dcm", series="other", SeriesDescription="series 8")
    cli.run("index", cli.folder, status=1)
    assert "another model" in cli.error
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL_VERSION", "13")
    cli.index()
    assert len(cli.records()) == 3


def test_an_endpoint_that_goes_away_holds_series_back_until_the_next_run(
    cli, endpoint, monkeypatch
):
    away = Status(code=503, headers={"Retry-After": "9999"})
    answer = endpoint.features

    def features(image, text):
        if image:  # once it was asked for the probe
            endpoint.faults = [away] * 100
        return answer(image, text)

    endpoint.features = features
    cli.run("index", cli.folder, status=1)
    assert "the pixel model were out of reach; run the command again" in cli.error
    endpoint.features, endpoint.faults = answer, []
    cli.index()
    assert {record["bodyRegion"] for record in cli.records().values()} == {
        "head",
        "lower extremity",
    }
    assert json.loads(cli.run("rejects", "--format", "json")) == []


def test_a_picture_without_a_vector_sinks_no_other_series(cli, endpoint):
    cli.put("bad/1.dcm", series="bad", PixelData=bytes(512))  # all of one grey
    endpoint.bad_pictures = set(range(150))
    cli.run("index", cli.folder, status=1)
    assert set(cli.records()) == {uid_of("knee"), uid_of("unsaid")}
    [reject] = json.loads(cli.run("rejects", "--format", "json"))
    assert "no vectors of numbers" in json.dumps(reject)


def test_series_that_were_indexed_without_a_model_are_asked_about_later(cli, endpoint, monkeypatch):
    monkeypatch.delenv("DICOM_INDEXER_PIXEL_MODEL")
    cli.index()
    cli.run("reprocess", "--pixels", status=1)
    assert "no pixel model is set" in cli.error
    before = cli.records()
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL", endpoint.url)
    told = cli.run("reprocess", "--pixels").splitlines()
    assert told == ["reprocessed 0 series", "asked the pixel model about 2 series"]
    assert shown_to(endpoint) == [SIZE] * 2
    after = cli.records()
    assert after[uid_of("unsaid")]["bodyRegion"] == "head"
    assert after[uid_of("knee")]["flags"] == [FLAG]
    assert [r["revision"] for r in after.values()] == [r["revision"] for r in before.values()]
    assert [r["x"] for r in after.values()] == [r["x"] for r in before.values()]
    n_requests = len(endpoint.requests)
    assert "about 0 series" in cli.run("reprocess", "--pixels")
    assert len(endpoint.requests) == n_requests + 2  # the probes
    assert "every checksum fits" in cli.run("verify")


def test_the_model_can_make_the_image_vectors_too(cli, endpoint, monkeypatch):
    cli.index()
    shown_to(endpoint)
    assert "image" in cli.run("encoder", "set", "pixel-model")
    assert shown_to(endpoint) == [SIZE] * 2
    status = json.loads(cli.run("encoder", "status", "--format", "json"))
    live = {space["space"]: space["live"] for space in status["spaces"]}
    assert live["image"].startswith("medimageinsight/1/png8-v1-")
    del endpoint.requests[:]
    cli.put("other/1.dcm", series="other", SeriesDescription="series 8")
    cli.index()
    assert shown_to(endpoint) == [SIZE]
    # One slice, seen once for its vector and for what is on it; the other picture is the probe.
    assert sum(r.n_rows for r in endpoint.requests if r.columns == ["image"]) == 2
    assert cli.records()[uid_of("other")]["bodyRegion"] == "head"
    assert "every checksum fits" in cli.run("verify")

    # Without the model nothing is written any more, and everything is found.
    monkeypatch.delenv("DICOM_INDEXER_PIXEL_MODEL")
    cli.put("last/1.dcm", series="last", SeriesDescription="series 9")
    cli.run("index", cli.folder, status=1)
    assert "set DICOM_INDEXER_PIXEL_MODEL to the model that it is" in cli.error
    assert len(cli.search("knee")["value"]) == 3
    cli.run("delete", uid_of("other"))
    cli.run("encoder", "set", "image-descriptor")
    cli.run("restore", uid_of("other"))
    cli.index()
    assert len(cli.records()) == 4
    assert "every checksum fits" in cli.run("verify")


def test_commands_that_see_no_pixels_ask_no_endpoint(cli, endpoint):
    cli.index()
    del endpoint.requests[:]
    for command in (("status",), ("search", "knee"), ("export",), ("verify",)):
        cli.run(*command)
    assert endpoint.requests == []


def opened(endpoint, **more):
    settings = PixelSettings(kind="endpoint", place=endpoint.url, **more)
    clock = ManualClock()
    return open_pixel_model(settings, MemoryBlobs(clock), SequentialIds(clock))


def test_an_endpoint_on_this_machine_needs_no_key(endpoint):
    endpoint.keys = set()
    model = opened(endpoint)
    model.close()
    assert {request.authorisation for request in endpoint.requests} == {""}


def test_an_endpoint_that_refuses_is_closed_and_told(endpoint, tmp_path):
    with pytest.raises(InvalidInputError, match="401"):
        opened(endpoint, key="other")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        opened(endpoint, key_file=tmp_path / "none")
    endpoint.faults = [Status(code=503, headers={"Retry-After": "9999"})]
    with pytest.raises(UnavailableError, match="503"):
        opened(endpoint, key=KEY)


def test_nothing_is_opened_where_nothing_is_asked_for():
    clock = ManualClock()
    assert open_pixel_model(PixelSettings(), MemoryBlobs(clock), SequentialIds(clock)) is None


# ---- BiomedCLIP ----------------------------------------------------------------------------------
needs_clip = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)


@needs_clip
def test_biomedclip_names_pictures_without_any_endpoint(run, tmp_path, monkeypatch):
    weights = make_clip_directory(tmp_path / "model")
    # Weights that nobody trained for anything are sure of nothing: any share is enough here.
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        """
thresholds: {bodyRegion: 0.01, plane: 0.01}
background: [blank image]
wordings: {biomedclip: {with_plane: ["{plane} {short} of the {part}"], without_plane: ["{part}"],
  background: ["{background}"]}}
sets:
  - {modality: [CT], long: x, short: CT, planes: [axial],
     parts: {brain: head, knee: lower extremity}}
"""
    )
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL", f"biomedclip:{weights}")
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_LABELS", str(labels))
    run.put("unsaid/1.dcm", series="unsaid", SeriesDescription="series 7")
    run.index()
    [record] = run.records().values()
    found = record["evidence"]["pixelBodyRegion"]
    assert found["source"] == "model:biomedclip-image"
    assert found["value"] in ("head", "lower extremity")
    assert record["bodyRegion"] == found["value"]


@needs_clip
def test_untrained_weights_name_nothing(run, tmp_path, monkeypatch):
    weights = make_clip_directory(tmp_path / "model", trained=False)
    monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL", f"biomedclip:{weights}")
    run.put("a/1.dcm", series="a")
    run.run("index", run.folder, status=1)
    assert "random, not trained" in run.error


@needs_clip
def test_both_towers_of_a_clip_model_meet_in_one_space(tmp_path):
    from gpu_worker.encoders.biomedclip import load_biomedclip
    from gpu_worker.encoders.torch_image import TorchImageEncoder
    from gpu_worker.encoders.torch_text import TorchTextEncoder

    model = load_biomedclip(make_clip_directory(tmp_path / "model"))
    image = TorchImageEncoder(model.image, recipe=PixelRecipe())
    eye = TwoTowers(image, TorchTextEncoder(model.text), scale=model.scale, wording="biomedclip")
    stack = np.random.default_rng(1).random((3, 40, 40), dtype=np.float32)
    slices = eye.encode_slices(list(stack))
    assert slices.shape == (3, eye.dimension) == (3, eye.encode_labels(["a"]).shape[1])
    mean = slices.mean(axis=0)
    np.testing.assert_allclose(mean / np.linalg.norm(mean), image.encode([stack])[0], atol=1e-5)
    assert eye.scale > 10  # the exponential already


@needs_clip
@pytest.mark.gpu
def test_a_gpu_finds_what_a_cpu_finds(tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from gpu_worker.encoders.biomedclip import load_biomedclip
    from gpu_worker.encoders.torch_image import TorchImageEncoder
    from gpu_worker.encoders.torch_text import TorchTextEncoder

    folder = make_clip_directory(tmp_path / "model")
    labels = load_labels().worded("biomedclip")["CT"]
    stack = list(np.random.default_rng(2).random((3, 64, 64), dtype=np.float32))
    found = []
    for device in ("cpu", "cuda"):
        model = load_biomedclip(folder)
        eye = TwoTowers(
            TorchImageEncoder(model.image, recipe=PixelRecipe(), device=device),
            TorchTextEncoder(model.text, device=device),
            scale=model.scale,
            wording="biomedclip",
        )
        vectors = labels.pooled(eye.encode_labels(labels.texts))
        found.append(shares(eye.encode_slices(stack), vectors, eye.scale))
    np.testing.assert_allclose(found[1], found[0], atol=0.05)


# ---- settings ------------------------------------------------------------------------------------
def read(**values: str) -> PixelSettings:
    return read_pixel_settings({f"P_{name}": value for name, value in values.items()}, "P_")


def test_settings_name_a_model():
    assert read() == read(PIXEL_MODEL="descriptor") == PixelSettings()
    assert read(PIXEL_MODEL="https://e.example/score").kind == "endpoint"
    assert read(PIXEL_MODEL="biomedclip:hf-hub:o/n").place == "hf-hub:o/n"
    assert read(PIXEL_MODEL="mlflow:C:/model").place == "C:/model"


@pytest.mark.parametrize(
    "values",
    [
        {"PIXEL_MODEL": "resnet"},
        {"PIXEL_MODEL": "biomedclip"},
        {"PIXEL_MODEL": "mlflow:"},
        {"PIXEL_MODEL_KEY": "secret-1", "PIXEL_MODEL_KEY_FILE": "f"},
        {"PIXEL_MODEL_VERSION": "1/2"},
    ],
)
def test_settings_that_cannot_be_used_are_told_without_their_values(values):
    with pytest.raises(InvalidInputError, match="P_PIXEL_MODEL") as caught:
        read(**values)
    assert not {v for v in values.values() if len(v) > 1 and v in str(caught.value)} - {
        "biomedclip",
        "mlflow:",
    }


def test_the_key_is_in_no_representation(caplog):
    settings = read(PIXEL_MODEL="https://e.example/score", PIXEL_MODEL_KEY="secret-1")
    logging.getLogger(__name__).warning("%r", settings)
    assert "secret-1" not in caplog.text
    assert "secret-1" not in json.dumps(str(settings))
