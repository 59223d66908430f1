"""The page of the package: what is measured, and how many series that lets an instance hold."""

import os

import pytest

from benchmarks import run_package
from benchmarks.package import WAYS, holds, kib_each, lines, memory


def told(peak):
    memory_mib = {"resident": peak, "private": peak / 2, "mapped": peak / 2, "peak": peak}
    return {
        "start_s": 2.0,
        "first_s": 9.0,
        "refused": 0,
        "median_ms": 50.0,
        "p95_ms": 90.0,
        "after_start": memory_mib,
        "after_first": memory_mib,
        "after_all": memory_mib,
    }


def found(mib_each=600, zip_mb=150.0):
    return {
        "series": 120_000,
        "zip_mb": zip_mb,
        "empty": told(400.0),
        "starts": {"with": [1.0, 2.0, 9.0], "without": [4.0, 5.0, 6.0]},
        **{way: told(400.0 + mib_each - 10 * number) for number, way in enumerate(WAYS)},
    }


def test_what_takes_most_counts():
    assert kib_each(found(600)) == pytest.approx(1024 * 600 / 120_000)


def test_an_instance_holds_what_is_left_of_it():
    each_mib = 600 / 120_000
    assert holds(found(), 512) == 0
    # 1,536 MB are 1,464.8 MiB, of which the process alone takes 400.
    assert holds(found(), 2048) == int((1536e6 / 2**20 - 400) / each_mib) // 1000 * 1000
    assert 2 * holds(found(), 2048) < holds(found(), 4096) < 4 * holds(found(), 2048)


def test_the_page_says_whether_the_instances_of_the_templates_hold_it():
    bars = {line.what: line.met for line in lines(found()) if line.met is not None}
    assert list(bars.values()) == [True, True, True]
    missed = [line.met for line in lines(found(mib_each=2000)) if line.met is not None]
    assert missed == [True, False, True]
    assert not lines(found(zip_mb=201.0))[0].met
    page = run_package.page({"package": {"machine": {"Date": "2026-11-27"}, "found": found()}})
    assert "| the package, zipped | 150 MB | <= 200 MB | met |" in page
    assert "with it | 5.0 and 2.0 s |" in page
    assert "120,000 series, 400 MB for copies" in page


def test_memory_is_what_the_kernel_says_of_a_process():
    own = memory(os.getpid())
    assert own.peak >= own.resident > own.private > 10
    # What lies in shared memory is neither.
    assert own.private + own.mapped == pytest.approx(own.resident, rel=0.1)
