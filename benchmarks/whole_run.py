"""The command line as a user runs it: child processes, fresh data directories, real files."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from gpu_worker.encoders.export import export_text_encoder

_ENCODER = Path("encoders") / "minilm-l6-v2"


def index_twice(samples: Path, work: Path, rounds: int) -> dict[str, float | int]:
    """First and second `index` of the samples: seconds, medians, and what the runs counted.

    The text encoder is exported beforehand, once, and timed apart: counted into the first run it
    would flatter the ratio.
    """
    start = time.perf_counter()
    export_text_encoder(work / "encoder")
    export_s = time.perf_counter() - start
    firsts: list[float] = []
    seconds: list[float] = []
    counts: list[dict[str, dict[str, int]]] = [{}, {}]
    for number in range(rounds):
        data = work / f"data-{number}"
        shutil.copytree(work / "encoder", data / _ENCODER, copy_function=os.link)
        for run, times in enumerate((firsts, seconds)):
            elapsed_s, output = timed(["--data", data, "index", samples, "--format", "json"], work)
            times.append(elapsed_s)
            counts[run] = json.loads(output)
    return {
        "rounds": rounds,
        "export_s": export_s,
        "first_s": statistics.median(firsts),
        "second_s": statistics.median(seconds),
        "times_faster": statistics.median(a / b for a, b in zip(firsts, seconds, strict=True)),
        "files": sum(counts[0]["files"].values()),
        "series": counts[0]["series"]["indexed"],
        "second_unchanged": counts[1]["files"]["unchanged"] + counts[1]["files"]["rejected"],
        "second_written": counts[1]["series"]["indexed"],
    }


def cold_search(data: Path, work: Path, text: str, rounds: int) -> dict[str, float]:
    """A search as a process of its own: start, load the encoder and the index, answer."""
    times = [timed(["--data", data, "search", text], work)[0] for _ in range(rounds)]
    return {"p50_s": statistics.median(times), "max_s": max(times)}


def help_time(work: Path, rounds: int) -> dict[str, float]:
    """`dicom-indexer --help`: what importing the command line costs."""
    times = [timed(["--help"], work)[0] for _ in range(rounds)]
    return {"p50_s": statistics.median(times), "max_s": max(times)}


def timed(arguments: list[object], work: Path) -> tuple[float, str]:
    """Seconds and standard output of one command.

    Raises
    ------
    subprocess.CalledProcessError
        It failed; figures of a failing command are worth nothing.
    """
    command = [sys.executable, "-m", "local_host.cli", *map(str, arguments)]
    environment = {**os.environ, "DICOM_INDEXER_PATIENT_KEY_FILE": str(work / "patient.key")}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout
