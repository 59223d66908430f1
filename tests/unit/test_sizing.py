"""Sizes in both homes: hand-computed, linear where they should be, and never smaller for more."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.costs.advice import MOST_SEGMENTS, advise
from indexer_core.costs.figures import PRICES
from indexer_core.costs.milvus_sizing import IN_MEMORY, hnsw_links, managed_usd, milvus_size
from indexer_core.costs.size_figures import size_figures
from indexer_core.costs.sizing import GIB, KEPT, PRECISIONS, Shape, machines, reading_of, size_of
from indexer_core.errors import InvalidInputError
from local_host import cli
from local_host.settings import Settings
from local_host.size_command import run_size
from tests.conftest import ROOT

FIGURES = size_figures()
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
BY_NAME = {precision.name: precision for precision in PRECISIONS}
counts = st.integers(0, 10**9)
precisions = st.sampled_from(PRECISIONS)
indexes = st.sampled_from(sorted(IN_MEMORY))
shapes = st.builds(
    Shape,
    n_series=counts,
    texts=st.integers(0, 20),
    text_dimension=st.sampled_from([384, 512, 768, 1024]),
    images=st.floats(0, 4),
    distinct=st.floats(0.01, 1),
)


def of(shape, name, *changes):
    return size_of(shape, BY_NAME[name], size_figures(changes))


def test_a_million_series_by_hand():
    shape = Shape(n_series=1_000_000, distinct=1)
    size = of(shape, "fp16")
    assert size.text_bytes == 1_000_000 * 5 * 512 * 2
    assert size.image_bytes == 1_000_000 * 1024 * 2
    assert size.memory_bytes == size.text_bytes + size.image_bytes + 64 * 1_000_000
    assert size.disk_bytes == size.text_bytes + size.image_bytes + (780 + 8) * 1_000_000
    assert size.stored_bytes == 2 * size.disk_bytes
    assert size.read_s == pytest.approx(5.12 / 13.1)
    assert size.exact_s == pytest.approx(5.12 / 13.1 / 0.8)
    assert size.n_segments == 74  # 7.956 GB of 108.5 MB each, rounded up
    assert size.manifest_bytes == 74 * 1305


def test_one_bit_keeps_a_copy_on_disk_to_score_again_by():
    shape = Shape(n_series=1_000_000, distinct=1)
    one_bit, fp16 = of(shape, "1-bit"), of(shape, "fp16")
    assert one_bit.text_bytes * 16 == fp16.text_bytes
    assert one_bit.disk_bytes == pytest.approx(fp16.disk_bytes * (1 + 1 / 16), rel=0.01)
    assert one_bit.memory_bytes < fp16.memory_bytes / 10


@given(shapes, precisions, st.integers(2, 9))
def test_bytes_and_times_are_linear_in_series(shape, precision, times):
    one, more = (
        size_of(replace(shape, n_series=n), precision, FIGURES)
        for n in (shape.n_series, times * shape.n_series)
    )
    for name in ("text_bytes", "image_bytes", "memory_bytes", "disk_bytes", "read_s", "exact_s"):
        assert getattr(more, name) == pytest.approx(times * getattr(one, name))
    assert one.n_segments <= more.n_segments <= times * one.n_segments


@given(shapes, precisions, indexes, counts)
def test_more_series_never_take_less(shape, precision, index, further):
    grown = replace(shape, n_series=shape.n_series + further)
    before, after = (size_of(each, precision, FIGURES) for each in (shape, grown))
    assert after.memory_bytes >= before.memory_bytes
    assert after.manifest_bytes >= before.manifest_bytes
    small, large = (milvus_size(each, index, FIGURES) for each in (shape, grown))
    assert large.memory_bytes >= small.memory_bytes
    assert large.n_nodes >= small.n_nodes
    assert large.usd_a_month >= small.usd_a_month


@given(shapes)
def test_fewer_bits_never_take_more_memory(shape):
    in_memory = [size_of(shape, precision, FIGURES).memory_bytes for precision in PRECISIONS]
    assert in_memory == sorted(in_memory, reverse=True)


@given(shapes, precisions)
def test_what_fits_fits_and_nothing_smaller_does(shape, precision):
    size = size_of(shape, precision, FIGURES)
    reading = reading_of(size, FIGURES)
    all_of_them = machines(FIGURES)
    fitting = [each for each in all_of_them if size.memory_bytes <= 0.75 * each.gib * GIB]
    assert reading.machine == (fitting[0] if fitting else None)
    if fitting:
        assert reading.usd_a_month >= reading.machine.usd_a_month
        assert reading.exact_s <= size.exact_s


def test_machines_are_in_the_order_of_their_memory_and_price():
    gib = [machine.gib for machine in machines(FIGURES)]
    assert gib == sorted(gib)
    usd = [machine.usd_a_month for machine in machines(FIGURES)]
    assert usd == sorted(usd)


def test_collections_by_hand():
    shape = Shape(n_series=1_000_000)
    flat = milvus_size(shape, "FLAT", FIGURES)
    assert flat.vector_bytes == 5e6 * 512 * 4 + 1e6 * 1024 * 4
    assert flat.field_bytes == 7e6 * 520 + 1e6 * 1700
    assert flat.n_nodes == 1
    assert flat.exact_s == pytest.approx(10.24 / (16 * 3 * 0.4))
    sq8 = milvus_size(shape, "IVF_SQ8", FIGURES)
    assert sq8.vector_bytes == 5e6 * 520 + 1e6 * 1032
    hnsw = milvus_size(shape, "HNSW", FIGURES)
    assert hnsw.vector_bytes == pytest.approx(flat.vector_bytes + 6e6 * 4 * (32 + 16 / 15))
    assert milvus_size(shape, "DISKANN", FIGURES).disk_bytes == flat.vector_bytes + 6e6 * 56 * 4
    rabitq = milvus_size(shape, "IVF_RABITQ", FIGURES).vector_bytes
    assert rabitq == 5e6 * (64 + 16) + 1e6 * (128 + 16)


def test_links_of_a_graph_are_those_of_its_levels():
    assert hnsw_links(16) == pytest.approx(32 + sum(16 * 16.0**-level for level in range(1, 9)))
    assert hnsw_links(1) == 3


def test_repeated_texts_are_stored_once_here_and_every_time_there():
    few, many = (Shape(n_series=1000, distinct=share) for share in (0.1, 1.0))
    assert size_of(few, KEPT, FIGURES).text_bytes * 10 == pytest.approx(
        size_of(many, KEPT, FIGURES).text_bytes
    )
    assert milvus_size(few, "FLAT", FIGURES) == milvus_size(many, "FLAT", FIGURES)


def test_managed_prices_go_with_the_values_of_vectors():
    shape = Shape(n_series=1_000_000, texts=1, text_dimension=768, images=0)
    assert managed_usd(shape, FIGURES) == {
        "performance-optimized": pytest.approx(65),
        "capacity-optimized": pytest.approx(20),
        "extended-capacity": pytest.approx(10),
    }


@pytest.mark.parametrize(
    ("n_series", "home", "exact"),
    [
        (120_000, "functions", True),
        (1_000_000, "one machine", True),
        (10_000_000, "one machine", True),
        (100_000_000, "milvus", True),
    ],
)
def test_the_home_follows_from_the_numbers(n_series, home, exact):
    advice = advise(Shape(n_series=n_series), 1.0, FIGURES)
    assert (advice.home, advice.exact) == (home, exact)
    assert advice.reason


def test_a_search_that_must_be_faster_is_approximate_and_then_elsewhere():
    shape = Shape(n_series=10_000_000)
    assert advise(shape, 0.5, FIGURES).exact is False
    hurried = advise(shape, 0.01, FIGURES)
    assert hurried.home == "milvus"
    assert "even an approximate search" in hurried.reason
    assert "for 0.01 s)" in hurried.reason


def test_what_no_machine_holds_and_what_nobody_measured_go_to_milvus():
    assert "no single machine" in advise(Shape(n_series=10**9), 1e9, FIGURES).reason
    many = size_figures([f"segmentBytes={6.6e9 / MOST_SEGMENTS / 2}"])
    assert "segments" in advise(Shape(n_series=1_000_000), 1e9, many).reason


@given(counts, st.floats(0.01, 10))
def test_there_is_always_advice(n_series, within_s):
    advice = advise(Shape(n_series=n_series), within_s, FIGURES)
    assert advice.home in {"functions", "one machine", "milvus"}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_figure_matters(name):
    def everything(figures):
        shapes = [Shape(n_series=n, distinct=1) for n in (100_000, 1_000_000, 40_000_000)]
        sizes = [size_of(shape, p, figures) for shape in shapes for p in PRECISIONS]
        return (
            sizes,
            [reading_of(size, figures) for size in sizes],
            [milvus_size(shape, index, figures) for shape in shapes for index in IN_MEMORY],
            [managed_usd(shape, figures) for shape in shapes],
        )

    changed = size_figures([f"{name}={FIGURES[name].value / 3}"])
    assert everything(changed) != everything(FIGURES)


def test_prices_that_other_commands_know_are_theirs():
    theirs = {price.name: price for price in PRICES}
    assert {name for name in FIGURES if name in theirs} == {"blobStoragePrice", "alwaysReadyPrice"}
    assert all(FIGURES[name] is theirs[name] for name in FIGURES if name in theirs)


@pytest.mark.parametrize("change", ["none=1", "share-fp16=0", "segmentBytes=0", "gibPrice=-1"])
def test_a_figure_that_cannot_be_is_refused(change):
    with pytest.raises(InvalidInputError):
        size_figures([change])


def printed(capsys, *arguments: str) -> str:
    options = cli._parser().parse_args(["size", *arguments])
    assert run_size(options, Settings(data=Path(), patient_key_file=Path())) == 0
    return capsys.readouterr().out


def test_the_page_shows_what_the_command_prints(capsys):
    _, _, block = PAGE.partition("$ dicom-indexer size\n")
    assert block.partition("```")[0] == printed(capsys)


def test_json_says_the_same(capsys):
    found = json.loads(printed(capsys, "--format", "json", "--series", "10M", "20k"))
    assert [each["shape"]["n_series"] for each in found["sizes"]] == [10_000_000, 20_000]
    large = found["sizes"][0]
    assert [each["precision"]["name"] for each in large["reader"]] == list(BY_NAME)
    size = size_of(Shape(n_series=10_000_000), KEPT, FIGURES)
    assert large["reader"][1]["memory_bytes"] == size.memory_bytes
    assert large["advice"]["home"] == "one machine"
    assert {each["name"] for each in found["figures"]} == set(FIGURES)


def test_other_shapes_and_figures_are_taken(capsys):
    arguments = ("--series", "1000", "--texts", "2", "--text-dimension", "384", "--images", "0.5")
    told = printed(capsys, *arguments, "--distinct", "1", "--within", "2", "--set", "gibPrice=9")
    assert "1,000 series: 2,000 texts of 384, 500 images of 1024" in told
    assert "for answers within 2 s: functions" in told
    assert "set by you" in told


@pytest.mark.parametrize(
    "wrong", [["--series", "1G"], ["--series", "M"], ["--distinct", "2"], ["--within", "0"]]
)
def test_what_cannot_be_is_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        cli._parser().parse_args(["size", *wrong])
    assert capsys.readouterr().err
