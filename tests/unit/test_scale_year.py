"""A year of a billion files on paper: means that add up, merges by the policy, limits in order."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scale_year
from docs import scale_picture
from indexer_core.costs.advice import MOST_SEGMENTS
from indexer_core.costs.merge_traffic import commits_of_one, merge_traffic
from indexer_core.costs.year import DAY_S, DAYS, batch_of, files_a_second, year_of
from indexer_core.costs.year_figures import LIMITS, YEAR, year_figures
from indexer_core.costs.year_limits import collecting_s, limits_of
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.compaction import MergePolicy, SegmentSize, plan_merge
from indexer_core.index.upkeep import UpkeepSettings
from indexer_core.search import APPROXIMATE_ABOVE
from tests.conftest import ROOT

SMALL = MergePolicy(max_input_bytes=4 << 20)
"""So that a segment settles after few commits."""
FIGURES = year_figures()
YEAR_NOW = year_of(FIGURES, SMALL)
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_a_billion_files_are_a_billion_files():
    files = files_a_second(FIGURES)
    assert len(files) == 168
    assert sum(files) / len(files) * DAYS * DAY_S == pytest.approx(1e9)
    assert max(files) < 4 * sum(files) / len(files)
    saturday = files[5 * 24 : 6 * 24]
    assert sum(saturday) == pytest.approx(0.3 * sum(files[:24]))


@given(st.floats(1e3, 1e12))
def test_rates_are_linear_in_files(instances):
    year = year_of(year_figures([f"instancesAYear={instances!r}"]), SMALL)
    times = instances / 1e9
    for load, now in zip(year.loads, YEAR_NOW.loads, strict=True):
        assert load.mean == pytest.approx(now.mean * times)
        assert load.busiest == pytest.approx(now.busiest * times)
        assert load.mean <= load.busiest <= load.burst
    assert year.series_a_day * DAYS * 60 == pytest.approx(instances)


@given(st.floats(0, 100), st.floats(0, 100))
def test_batches_are_between_one_series_and_full_ones_and_grow_with_what_waits(one, other):
    low, high = (batch_of(rate, FIGURES) for rate in sorted((one, other)))
    assert 1 <= low <= high <= 32


def test_a_worker_that_is_always_busy_commits_full_batches():
    assert batch_of(1 / 0.45, FIGURES) == 32
    assert batch_of(0.001, FIGURES) == 1


def test_bytes_go_through_every_tier_once():
    n_commits = commits_of_one(10_000, SMALL)
    assert n_commits == 8**2
    traffic = merge_traffic(n_commits, 10_000, SMALL)
    assert traffic.n_merges == 8 + 1
    assert traffic.amplification == 3
    assert (traffic.n_segments, traffic.n_settled) == (1, 1)
    assert traffic.largest_bytes == 640_000


@given(st.integers(1, 300), st.integers(1_000, 2_000_000))
def test_the_simulation_is_what_the_policy_plans_over_all_segments(n_commits, commit_bytes):
    live: list[SegmentSize] = []
    written = 0
    for number in range(n_commits):
        live.append(SegmentSize(id=f"c{number}", size_bytes=commit_bytes, n_rows=1))
        written += commit_bytes
        while inputs := plan_merge(live, SMALL):
            size = sum(each.size_bytes for each in live if each.id in inputs)
            written += size
            live = [each for each in live if each.id not in inputs]
            live.append(SegmentSize(id=f"m{written}", size_bytes=size, n_rows=1))
    traffic = merge_traffic(n_commits, commit_bytes, SMALL)
    assert traffic.written_bytes == written
    assert traffic.n_segments == len(live)
    assert traffic.largest_bytes == max(each.size_bytes for each in live)


def test_limits_come_in_the_order_in_which_they_are_met():
    found = limits_of(YEAR_NOW, FIGURES)
    met = [limit for limit in found if limit.is_met]
    assert found[: len(met)] == tuple(met)
    days = [limit.day or 0 for limit in met]
    assert days == sorted(days)
    assert all(day < DAYS for day in days)
    rest = [limit.headroom for limit in found[len(met) :]]
    assert rest == sorted(rest)


def test_the_first_limit_is_the_memory_of_a_functions_instance():
    year = year_of(FIGURES, MergePolicy())
    first = limits_of(year, FIGURES)[0]
    assert first.name == "memory of a functions instance"
    series = first.day * year.series_a_day
    assert series * year.memory_a_series == pytest.approx(3 * 2**30)


def test_a_smaller_archive_meets_none():
    figures = year_figures(["instancesAYear=1e7"])
    assert not any(limit.is_met for limit in limits_of(year_of(figures, SMALL), figures))


def test_a_larger_one_meets_rates_at_once():
    figures = year_figures(["instancesAYear=1e11"])
    met = [each for each in limits_of(year_of(figures, SMALL), figures) if each.is_met]
    names = {limit.name for limit in met if limit.day is None}
    assert {"queue blob-events", "storage account", "one worker", "Event Grid"} <= names


def test_collecting_takes_longer_every_day_and_a_larger_limit_mends_it():
    f = {name: figure.value for name, figure in FIGURES.items()}
    hours = [collecting_s(YEAR_NOW, day, f) for day in (1, 10, 100, 1000)]
    assert hours == sorted(hours)
    mended = year_figures(["collectLimit=50000"])
    names = [limit.name for limit in limits_of(YEAR_NOW, mended) if limit.is_met]
    assert "collecting garbage" not in names


def test_collecting_is_met_on_the_day_on_which_it_fills_the_day():
    (limit,) = (each for each in limits_of(YEAR_NOW, FIGURES) if each.name == "collecting garbage")
    f = {name: figure.value for name, figure in FIGURES.items()}
    assert collecting_s(YEAR_NOW, limit.day, f) == pytest.approx(DAY_S)


@pytest.mark.parametrize("name", [figure.name for figure in (*YEAR, *LIMITS)])
def test_every_figure_matters(name):
    changed = year_figures([f"{name}={FIGURES[name].value / 3}"])
    year = year_of(changed, SMALL)
    now = (YEAR_NOW, limits_of(YEAR_NOW, FIGURES), scale_year.tables(FIGURES)["manifests"])
    then = (year, limits_of(year, changed), scale_year.tables(changed)["manifests"])
    assert now != then


def test_figures_that_are_settings_are_those_of_the_settings():
    value = {name: figure.value for name, figure in FIGURES.items()}
    settings = UpkeepSettings()
    assert value["collectLimit"] == settings.collect_limit
    assert value["retentionDays"] * DAY_S == RetentionPolicy().keep_s
    assert value["exactTexts"] == APPROXIMATE_ABOVE
    assert value["mostSegments"] == MOST_SEGMENTS
    bicep = Path(ROOT / "infra" / "bicep" / "main.bicep").read_text(encoding="utf-8")
    assert f"maximumInstances: {value['instanceLimit']:.0f}\n" in bicep


def test_an_empty_year_is_no_error():
    figures = year_figures(["instancesAYear=0"])
    year = year_of(figures, SMALL)
    assert year.commits_a_day == 0
    assert not any(limit.is_met for limit in limits_of(year, figures))


def test_the_page_shows_the_tables():
    assert scale_year.with_tables(PAGE, scale_year.tables(FIGURES)) == PAGE


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="no place for loads"):
        scale_year.with_tables("", {"loads": ""})


def test_the_program_prints_the_tables_of_another_year(capsys):
    scale_year.main(["--set", "instancesAYear=1e6"])
    told = capsys.readouterr().out
    assert "| instancesAYear | 1,000,000 |" in told
    assert told.count("| --- |") >= 4


def test_the_picture_is_that_of_the_year():
    assert scale_picture.TARGET.read_text(encoding="utf-8") == scale_picture.picture()


def test_limits_that_are_met_end_left_of_the_line():
    for limit in limits_of(YEAR_NOW, FIGURES):
        place = scale_picture.place_of(limit.headroom)
        assert (place < scale_picture.place_of(1)) == limit.is_met
    first = replace(limits_of(YEAR_NOW, FIGURES)[0], limit=0.0)
    assert scale_picture.place_of(first.headroom) == scale_picture.place_of(scale_picture.LEAST)
