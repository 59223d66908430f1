"""What the Functions app takes in memory for each series, measured in the real runtime.

Of the working tree's app: the package that `make package` builds has the same files.
"""

import pytest

from benchmarks.package import WAYS, account, asked, filled
from tests.support import azurite, functions_host
from tests.support.functions_host import ROOT

pytestmark = [
    pytest.mark.azurite,
    pytest.mark.slow,
    pytest.mark.skipif(azurite.missing() is not None, reason=str(azurite.missing())),
    pytest.mark.skipif(functions_host.missing() is not None, reason=str(functions_host.missing())),
]
SERIES = 12_000
# Five vectors of 384 dimensions in fp16 are 3.75 KiB; rows and what finds them are the rest.
VECTORS_KIB = 5 * 384 * 2 / 1024
MOST_KIB = 7.0


@pytest.fixture(scope="module")
def grown(tmp_path_factory, exported):
    """What the app takes over few series and over many, all of them in memory."""
    work = tmp_path_factory.mktemp("package")
    (work / "encoders").symlink_to(exported)
    found = {}
    for name, n_series in (("few", 8), ("many", SERIES)):
        filled(work / name, work / "encoders", n_series, 4)
        with account(work / f"account of {name}", work / name, work / "encoders") as settings:
            told = {**settings, "INDEXER_CACHE_MB": WAYS["memory"]}
            found[name] = asked(ROOT, told, work / f"app of {name}", 10)
    return found


def test_each_series_takes_little_more_memory_than_its_vectors(grown):
    few, many = (grown[name]["after_all"]["private"] for name in ("few", "many"))
    kib = 1024 * (many - few) / SERIES
    # Less would mean that the index was not read into memory, and nothing measured.
    assert 0.8 * VECTORS_KIB < kib < MOST_KIB


def test_searching_on_takes_no_more(grown):
    first, later = (grown["many"][name]["resident"] for name in ("after_first", "after_all"))
    assert later < 1.15 * first


def test_the_first_question_is_answered(grown):
    assert grown["many"]["refused"] == 0
    assert grown["many"]["first_s"] > grown["many"]["start_s"] > 0
