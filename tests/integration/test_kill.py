"""`dicom-indexer index` is killed twenty times, in every stage, and the index is as if it was not.

The undisturbed run and the disturbed one work on the same files, so that URLs and etags agree.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import (
    TIMEOUT_S,
    CommandLine,
    copy_files,
    exported_encoder,
    pydicom_files,
)

N_KILLS = 20
POLL_S = 0.005


@pytest.fixture(scope="session")
def text_encoder(request) -> Path:
    return exported_encoder(request.config)


def _selection(samples: Path) -> list[Path]:
    """A part of pydicom's own files and some sample series of several slices; or everything."""
    if os.environ.get("DICOM_INDEXER_KILL_ALL_SAMPLES"):
        return [*pydicom_files(), *sorted(samples.rglob("*.dcm"))]
    several = sorted(p for p in samples.rglob("*.dcm") if "dcm_qa_ct" in str(p) or "agfa" in str(p))
    return [*pydicom_files()[::2], *several[:60]]


def _moments(command: CommandLine, folder: Path, duration_s: float, chance: random.Random):
    """When to kill, each as (stage, condition of a run that is about to start).

    The conditions come true while a run works, if it has work enough. Each is made anew for every
    run: what was queued when an earlier one began may be more than this one ever has.
    """
    n_files = sum(1 for _ in folder.iterdir())

    def headers() -> Callable[[], bool]:
        left = chance.randrange(1, n_files)
        seen = False

        def reached() -> bool:
            nonlocal seen
            waiting = command.queued("blob-events")
            seen = seen or waiting > left
            return seen and 0 < waiting <= left

        return reached

    def closing_series() -> Callable[[], bool]:
        n_more = chance.randrange(0, 8)
        before = command.queued("series-ready")

        def reached() -> bool:
            return (
                command.queued("blob-events") == 0
                and command.queued("series-ready") > before + n_more
            )

        return reached

    def worker() -> Callable[[], bool]:
        n_more = chance.randrange(1, 4)
        before = command.n_manifests()

        def reached() -> bool:
            return (
                command.n_manifests() >= before + n_more
                and command.queued("blob-events") == 0
                and command.queued("series-ready") > 0
            )

        return reached

    def any_time() -> Callable[[], bool]:
        at_s = time.monotonic() + chance.uniform(0.2, 1.0) * duration_s
        return lambda: time.monotonic() >= at_s

    kinds = [headers] * 5 + [closing_series] * 4 + [worker] * 5 + [any_time] * 6
    assert len(kinds) == N_KILLS
    for kind in chance.sample(kinds, N_KILLS):
        yield kind.__name__, kind


def _kill_when(process: subprocess.Popen, reached: Callable[[], bool]) -> bool:
    """Kill the process at the moment; False when it ended before."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not reached():
        assert time.monotonic() < deadline_s
        try:
            process.communicate(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            continue
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def _touch(folder: Path, chance: random.Random) -> None:
    """New versions of some files, so that an index run has work to do."""
    files = sorted(folder.iterdir())
    for path in chance.sample(files, len(files) // 2):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


# About forty runs of the program, each some seconds on an idle machine: a limit against hangs.
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_leave_the_index_of_an_undisturbed_run(tmp_path, samples, text_encoder):
    folder = tmp_path / "files"
    copy_files(folder, _selection(samples))
    undisturbed, disturbed = (
        CommandLine(tmp_path / name, text_encoder, tmp_path / "patient.key")
        for name in ("undisturbed", "disturbed")
    )
    started_s = time.monotonic()
    undisturbed.ask("index", str(folder))
    duration_s = time.monotonic() - started_s
    chance = random.Random(20)
    killed: Counter[str] = Counter()
    for stage, condition in _moments(disturbed, folder, duration_s, chance):
        while True:
            reached = condition()
            process = disturbed.start("index", str(folder))
            if _kill_when(process, reached):
                killed[stage] += 1
                break
            assert process.returncode == 0
            _touch(folder, chance)
    assert killed.total() == N_KILLS
    assert min(killed.values()) >= 4
    disturbed.ask("index", str(folder))
    assert disturbed.ask("verify")
    assert disturbed.records() == undisturbed.records()
    status = json.loads(disturbed.ask("status", "--format", "json"))
    assert status["openSeries"] == 0
    queues = {name: n for name, n in status["queues"].items() if name != "series-check"}
    assert queues == {"blob-events": 0, "series-ready": 0, "poison": 0}
