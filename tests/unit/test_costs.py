"""What an index costs: linear in what there is to do, by the requests that the code makes."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.costs import reference
from indexer_core.costs.estimate import added, standing, work
from indexer_core.costs.figures import ASSUMPTIONS, PRICES, WORKERS, figures_of
from indexer_core.errors import InvalidInputError
from indexer_core.testing.faults import RequestCounts
from local_host import cli
from local_host.cost_command import run_cost
from local_host.settings import Settings
from tests.conftest import ROOT
from tests.support.dicom import dicom_object
from tests.support.pipeline import Pipeline

PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
HOST = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
FIGURES = figures_of("gpu")
amounts = st.integers(0, 10**7)
values = st.floats(0, 1e6)
workers = st.sampled_from(sorted(WORKERS))
names = st.sampled_from(sorted(FIGURES))


def amounts_of(estimate) -> dict[str, float]:
    return {line.name: line.amount for line in estimate.lines}


@given(workers, amounts, amounts, amounts, amounts)
def test_two_deltas_cost_what_they_cost_together(worker, series, uploads, more, further):
    figures = figures_of(worker)
    parts = added([work(series, uploads, figures), work(more, further, figures)])
    whole = work(series + more, uploads + further, figures)
    assert parts.usd == pytest.approx(whole.usd)
    assert parts.worker_s == pytest.approx(whole.worker_s)
    assert amounts_of(parts) == pytest.approx(amounts_of(whole))


@given(amounts, amounts)
def test_what_is_stored_of_two_parts_costs_what_both_do(one, other):
    ready = standing(0, FIGURES).usd
    whole = standing(one + other, FIGURES).usd
    assert standing(one, FIGURES).usd + standing(other, FIGURES).usd == pytest.approx(whole + ready)


@given(workers, amounts, amounts, amounts)
def test_more_series_or_uploads_never_cost_less(worker, series, uploads, more):
    figures = figures_of(worker)
    before = work(series, uploads, figures)
    for after in (work(series + more, uploads, figures), work(series, uploads + more, figures)):
        assert after.usd >= before.usd
        pairs = zip(after.lines, before.lines, strict=True)
        assert all(now.amount >= then.amount for now, then in pairs)
    assert standing(series + more, figures).usd >= standing(series, figures).usd


@given(names.filter(lambda name: name not in {"batch", "pollSeconds"}), values, values)
def test_no_figure_that_grows_makes_anything_cheaper(name, one, other):
    low, high = (
        figures_of("gpu", [f"{name}={value!r}"]) for value in sorted((abs(one), abs(other)))
    )
    assert work(100, 3, low).usd <= work(100, 3, high).usd
    assert standing(100, low).usd <= standing(100, high).usd


@pytest.mark.parametrize("figure", PRICES, ids=lambda figure: figure.name)
def test_every_price_is_paid_for_something(figure):
    free = figures_of("gpu", [f"{figure.name}=0"])
    both = (work(1000, 1, FIGURES).usd, standing(1000, FIGURES).usd)
    assert sum(both) > work(1000, 1, free).usd + standing(1000, free).usd


@pytest.mark.parametrize("figure", [*ASSUMPTIONS, *WORKERS["gpu"]], ids=lambda figure: figure.name)
def test_every_assumption_matters(figure):
    doubled = figures_of("gpu", [f"{figure.name}={figure.value * 2}"])
    assert (work(9, 2, FIGURES), standing(9, FIGURES)) != (
        work(9, 2, doubled),
        standing(9, doubled),
    )


def test_nothing_to_do_costs_nothing():
    assert work(0, 0, FIGURES).usd == 0
    assert added([]).usd == 0


def test_the_reference_row_of_120000_series_follows_from_its_rates():
    cpu, gpu = (row for row in reference.ROWS if row.n_series == 120_000)
    assert (cpu.hours, gpu.hours) == (108, 15)
    assert (round(cpu.node_usd), round(cpu.endpoint_usd), round(cpu.usd)) == (27, 151, 178)
    assert (gpu.node_usd, gpu.endpoint_usd, gpu.usd) == (45, 21, 66)
    assert gpu.series_s == pytest.approx(0.45)
    assert all(round(row.usd) == row.stated_usd for row in (cpu, gpu))


def test_the_worker_takes_the_hours_of_that_row_for_its_series():
    warm = figures_of("gpu", ["startSeconds=0", "cooldownSeconds=0"])
    assert work(120_000, 1, warm).worker_s == pytest.approx(15 * 3600)
    assert work(500, 1, warm).worker_s == pytest.approx(225)


def test_4500_series_take_what_the_reference_says_and_cost_what_it_does_not():
    cpu, gpu = (row for row in reference.ROWS if row.n_series == 4_500)
    assert (round(cpu.hours * 60), round(gpu.hours * 60)) == (200, 30)
    assert all(row.usd < row.stated_usd for row in (cpu, gpu))


def test_a_delta_does_not_depend_on_the_index():
    assert work(500, 20, FIGURES) == work(500, 20, FIGURES)
    assert work(500, 1, FIGURES).usd < reference.rebuilt(120_500) / 50


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("nothing=1", "there is no figure 'nothing'"),
        ("batch", "batch is a number"),
        ("batch=0", "more than 0"),
        ("gpuPrice=-1", "at least 0"),
        ("gpuPrice=nan", "at least 0"),
        ("gpuPrice=inf", "at least 0"),
        ("gpuPrice=dear", "at least 0"),
    ],
)
def test_a_figure_that_cannot_be_is_refused(change, told):
    with pytest.raises(InvalidInputError, match=told):
        figures_of("gpu", [change])


def requests(n_series: int, n_slices: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """What looks, checks and the worker ask of the stores for so many series."""
    house, counts = Pipeline(), RequestCounts()
    process = house.process(counts)
    process.opened()
    for series in range(n_series):
        for number in range(1, n_slices + 1):
            data = dicom_object(series=str(series), instance=number)
            house.upload(f"{series}/{number}", data)
    steps = []
    for step in (process.events, process.checks, process.work):
        counts.requests.clear()
        step()
        steps.append(counts.requests.copy())
        house.clock.advance(1000)
    assert len(house.live()) == n_series
    return tuple(steps)


def of_rows(counted: Counter[str]) -> int:
    return sum(n for name, n in counted.items() if name.startswith("rows."))


def test_requests_to_tables_are_those_that_the_code_makes():
    few, checks, worker = requests(1, 2)
    many, *_ = requests(1, 7)
    value = {name: figure.value for name, figure in FIGURES.items()}
    a_slice = (of_rows(many) - of_rows(few)) / 5
    assert a_slice == value["sliceRows"]
    assert of_rows(few) - 2 * a_slice + of_rows(worker) == value["seriesRows"]
    assert of_rows(checks) == value["checkRows"]


def test_requests_to_blobs_are_no_more_than_is_assumed():
    value = {name: figure.value for name, figure in FIGURES.items()}
    for n_series in (1, 8):
        _, checks, worker = requests(n_series, 1)
        assert checks["blobs.put_if_absent"] == n_series  # the lists of slices
        # Users' files are read, and thumbnails kept, elsewhere than in what is counted here.
        reads = worker["blobs.get"] + worker["blobs.get_range"] + worker["blobs.properties"]
        writes = worker["blobs.put_if_absent"] + worker["blobs.put_if_match"] + worker["blobs.list"]
        assert reads - n_series <= value["commitReads"]
        assert writes <= value["commitWrites"]


def test_rows_of_a_file_take_no_more_than_is_assumed():
    house = Pipeline()
    house.upload("1", dicom_object(ProtocolName="x" * 64, SeriesDescription="y" * 64))
    house.process().events()
    n_bytes = sum(
        # As tables count them: two bytes a character of a text, names included.
        sum(2 * len(name) + 2 * len(str(value)) for name, value in row.values.items())
        for table in ("blobs", "instances")
        for row in house.rows[table].scan()
    )
    assert n_bytes <= FIGURES["rowBytes"].value


def test_figures_that_are_settings_are_those_of_the_settings():
    from gpu_worker.loop import WorkerSettings

    queues = HOST["extensions"]["queues"]
    assert queues["maxPollingInterval"] == f"00:00:0{FIGURES['pollSeconds'].value:.0f}"
    assert WorkerSettings().batch == FIGURES["batch"].value


def printed(capsys, *arguments: str) -> str:
    options = cli._parser().parse_args(["cost", *arguments])
    assert run_cost(options, Settings(data=Path(), patient_key_file=Path())) == 0
    return capsys.readouterr().out


def test_the_page_shows_what_the_command_prints(capsys):
    _, _, block = PAGE.partition("$ dicom-indexer cost --series 120000 --monthly 500\n")
    shown = block.partition("```")[0]
    assert printed(capsys, "--series", "120000", "--monthly", "500") == shown


def test_every_figure_is_printed_with_its_source(capsys):
    lines = printed(capsys, "--worker", "cpu").splitlines()
    for figure in figures_of("cpu").values():
        (line,) = (line for line in lines if line.split()[:1] == [figure.name])
        assert line.endswith(figure.source)


def test_json_says_the_same(capsys):
    found = json.loads(printed(capsys, "--format", "json", "--set", "gpuPrice=2"))
    figures = figures_of("gpu", ["gpuPrice=2"])
    assert found["first"]["usd"] == pytest.approx(work(120_000, 1, figures).usd)
    assert found["deltaAtOnce"]["usd"] == pytest.approx(work(500, 1, figures).usd)
    assert found["monthUsd"] == found["delta"]["usd"] + found["standing"]["usd"]
    assert [row["usd"] for row in found["reference"]][-1] == 66
    set_by_us = [f["name"] for f in found["figures"] if f["source"] == "set by you"]
    assert set_by_us == ["gpuPrice"]
