"""The benchmark of a whole archive in small: what it counts, and what its page says."""

from importlib.util import find_spec

import pytest

from benchmarks import seed_files, true_clip
from benchmarks.seed import REFERENCE, lines, measure, page
from gpu_worker.encoders.biomedclip import load_biomedclip
from gpu_worker.encoders.torch_image import TorchImageEncoder
from gpu_worker.timing import STAGES
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from indexer_core.pixels.recipe import PixelRecipe

pytestmark = pytest.mark.skipif(
    find_spec("open_clip") is None, reason="BiomedCLIP needs open_clip, which is not installed"
)
N_SERIES = 12


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    kept = tmp_path_factory.mktemp("bench")
    model = load_biomedclip(true_clip.weights(kept, "tiny"))
    encoder = OnnxTextEncoder.load(true_clip.exported(model.text, kept))
    image = TorchImageEncoder(model.image, recipe=PixelRecipe())
    work = kept / "seed"
    measured = measure(N_SERIES, work, encoder, image)
    assert not work.exists()
    return measured


def test_every_series_goes_from_its_files_into_the_index(found):
    counts = found["counts"]
    assert counts["files"]["indexed"] == found["files"] > N_SERIES
    assert counts["series"] == {"indexed": N_SERIES, "failed": 0}
    assert found["texts"] == 5 * N_SERIES


def test_each_distinct_text_is_embedded_once(found):
    assert found["embedded"] == found["distinct"] >= 0.6 * found["texts"]


def test_the_stages_make_up_the_whole(found):
    assert sum(found["stages"].values()) == pytest.approx(found["wall_s"])
    assert {"listing", "headers", "series", "indexing", "ending"} == set(found["stages"])
    assert all(found["busy"][name] > 0 for name in STAGES)


def test_the_page_stands_beside_the_reference_and_says_what_it_leaves_out(found):
    fast = page({**found, "wall_s": 0.39 * N_SERIES})
    assert "**missed**" not in fast
    assert "figures include MedImageInsight**" in fast
    assert all(name in fast for name in REFERENCE)
    slow = {**found, "wall_s": 0.41 * N_SERIES, "distinct": found["texts"] // 2}
    assert [line.met for line in lines(slow) if line.met is not None] == [False, True, False, False]


def test_files_are_the_same_ones_every_time(tmp_path):
    def written(folder, n):
        told = []
        seed_files.write_series(folder, n, told.append)
        assert told == list(range(1, n + 1))
        return {path.name: path.read_bytes() for path in folder.rglob("*.dcm")}

    two, three = written(tmp_path / "a", 2), written(tmp_path / "b", 3)
    assert two.items() <= three.items()
