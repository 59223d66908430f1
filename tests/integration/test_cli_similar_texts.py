"""`similar --text`: words among pictures, by an endpoint and by BiomedCLIP's two towers."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from tests.support.cli import uid_of
from tests.support.clip_directory import make_clip_directory
from tests.support.fake_endpoint import KEY, fake_endpoint

BRAIN = "a picture of a brain"
BRIGHTEST = 255


def words(run, text, **options):
    found = json.loads(run.run("similar", "--text", text, "--format", "json"))
    return {hit["seriesInstanceUid"]: hit["score"] for hit in found["value"]}, found


def test_an_endpoint_reads_what_its_pictures_show(run, monkeypatch):
    with fake_endpoint() as endpoint:
        monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL", endpoint.url)
        monkeypatch.setenv("DICOM_INDEXER_PIXEL_MODEL_KEY", KEY)
        run.put("a/1.dcm", series="a")
        run.index()
        endpoint.plant(BRIGHTEST, BRAIN)
        run.run("encoder", "set", "pixel-model")
        run.put("b/1.dcm", series="b", value=3)
        run.index()
        scores, found = words(run, BRAIN)
        assert scores[uid_of("a")] == pytest.approx(0.3, abs=0.05)
        assert found["imageEncoder"].startswith("medimageinsight/")
        other, _ = words(run, "something else")
        assert max(other.values()) < 0.25
        # Without the model nothing can say where the words lie.
        monkeypatch.delenv("DICOM_INDEXER_PIXEL_MODEL")
        run.run("similar", "--text", BRAIN, status=1)
        assert "words cannot be compared with pictures here" in run.error


@pytest.mark.skipif(find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip")
def test_the_text_tower_of_biomedclip_finds_pictures_without_torch_and_weights(
    run, exported, tmp_path
):
    from local_host.encoders import DEFAULT_NAME
    from local_host.settings import read_settings
    from local_host.wiring import LocalSystem

    folder = run.data / "encoders"
    folder.unlink()
    folder.mkdir()
    (folder / DEFAULT_NAME).symlink_to(exported / DEFAULT_NAME)
    for number, name in enumerate("ab"):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 900, (16, 16), dtype=np.uint16).tobytes()
        run.put(f"{name}/1.dcm", series=name, PixelData=pixels)
    run.index()
    weights = make_clip_directory(tmp_path / "model")
    run.run("encoder", "set", "biomedclip", "--weights", weights)
    (weights / "open_clip_pytorch_model.bin").unlink()
    scores, found = words(run, "axial CT of the head")
    assert found["imageEncoder"].startswith("biomedclip-image/")

    system = LocalSystem(read_settings(str(run.data), {}, "local"))
    snapshot = system.snapshot(searched=["image"])
    query = system.encoder_of(snapshot).encode(["axial CT of the head"])[0]
    for segment, row in snapshot.rows():
        first = segment.loaded.first_vector("image", row)
        live = snapshot.manifest.space("image").live
        vector = segment.loaded.vectors("image", live).reconstruct(first, 1)[0]
        uid = segment.loaded.rows.texts.record(row)["seriesInstanceUid"]
        assert scores[uid] == pytest.approx(float(vector @ query), abs=2e-3)
    system.close()
