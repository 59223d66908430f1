"""What `dicom-indexer cost` counts of a worker is what the templates start, price included."""

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from indexer_core.costs.estimate import work
from indexer_core.costs.figures import WORKERS, figures_of
from infra.check.evaluating import Evaluator
from infra.check.reading import read_template
from infra.check.scenarios import scenarios

WORKER = "modules/worker.bicep"
PROFILES = {"cpu": "Consumption", "gpu": "Consumption-GPU-NC8as-T4"}
"""Profile of the environment that each worker of the prices runs on."""


def hour(worker: str) -> float:
    """USD for an hour of it, by the prices and figures that `dicom-indexer cost` prints."""
    figures = figures_of(worker, ["seriesSeconds=3600"])
    parts = work(1, 0, figures).lines
    return sum(line.usd for line in parts if line.name.startswith("worker: "))


@pytest.fixture(scope="module")
def sizes(files):
    """Cores and memory by profile, as the template has them."""
    template = read_template(WORKER, files[WORKER])
    table = template.declared["sizes"].value
    return Evaluator(WORKER, {}.__getitem__).evaluate(table)


@pytest.fixture(scope="module")
def deployments(files):
    return scenarios(files)


def test_every_worker_that_has_a_price_is_one_of_the_templates():
    assert WORKERS.keys() == PROFILES.keys()


@pytest.mark.parametrize("worker", PROFILES)
def test_a_worker_is_priced_as_large_as_it_is_started(sizes, worker):
    figures = figures_of(worker)
    size = sizes[PROFILES[worker]]
    assert figures["workerVcpus"].value == size["cpu"]
    assert f"{figures['workerGib'].value:g}Gi" == size["memory"]
    assert figures["workerGpus"].value == ("GPU" in PROFILES[worker])
    assert PROFILES[worker] in figures["workerVcpus"].source
    assert PROFILES[worker] in figures["workerGib"].source


@pytest.mark.parametrize("worker", PROFILES)
def test_the_price_of_an_hour_in_the_parameters_is_that_of_the_prices(deployments, worker):
    of_it = [one.values for one in deployments if one.values["workerProfile"] == PROFILES[worker]]
    assert of_it
    assert {values["workerHourlyPrice"] for values in of_it} == {f"{hour(worker):.2f}"}
