"""Fixtures shared by all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell that runs this in its background has Ctrl-C ignored, and so would the programs that tests
# start and stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests that import onnxruntime by themselves shall not report to its maker either.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.register_profile("nightly", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of public sample files, outside the repository."""
    folder = Path(os.environ.get("DICOM_SAMPLES", ROOT.parent / "shared" / "data" / "dicom"))
    if not folder.is_dir():
        pytest.skip("the sample DICOM files (DICOM_SAMPLES) are not on this machine")
    return folder


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Under CI a skipped test is a failure, unless it needs a GPU."""
    if os.environ.get("CI"):
        for report in _forbidden_skips(terminalreporter):
            terminalreporter.write_line(f"SKIPPED UNDER CI: {report.nodeid}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and _forbidden_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _forbidden_skips(reporter):
    return [r for r in reporter.stats.get("skipped", []) if "gpu" not in r.keywords]


@pytest.fixture(scope="session")
def sample_searcher(samples, tmp_path_factory):
    """All sample files, indexed once per session."""
    from tests.support.system import Searcher, index_folder

    system = index_folder(tmp_path_factory.mktemp("samples") / "data", samples)
    yield Searcher(system, samples)
    system.close()
