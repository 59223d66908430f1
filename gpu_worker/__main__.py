"""``python -m gpu_worker``: the worker of an index in an Azure storage account.

Told to end (SIGTERM, SIGINT), it finishes the batch that is under way and gives back what it has
not started; a batch that takes longer than the grace is given back, too, and so is one that hangs.
Killed, it loses nothing: its messages come back when their visibility ends.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePath
from threading import Event, Thread
from traceback import extract_tb

from gpu_worker.background import BackgroundKeeper
from gpu_worker.health import Pulse, answering
from gpu_worker.loop import Worker, run
from gpu_worker.wiring import (
    ProgramSettings,
    build_azure_worker,
    read_log_format,
    read_program_settings,
)
from indexer_core.errors import IndexerError

log = logging.getLogger("gpu_worker")

_POLL_S = 0.5
_FLUSH_S = 3.0


class JsonLines(logging.Formatter):
    """A log record as one line of JSON; with the ids of a trace where it is about one series.

    Of an exception the type and where it was raised, as file, line and function: the texts of
    others, and values, may repeat what no log may hold.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, name in (("trace", "traceId"), ("span", "spanId")):
            if (value := getattr(record, key, None)) is not None:
                line[name] = value
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["frames"] = [
                f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
                for frame in extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """A log record as one line for people; of an exception only the type."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(" ", timespec="seconds")
        line = f"{at} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        if record.exc_info and record.exc_info[0] is not None:
            line += f" ({record.exc_info[0].__name__})"
        return line


class _Work(Thread):
    """The loop in a thread of its own, so that the first one can give up waiting for it."""

    def __init__(self, worker: Worker, *, until_idle: bool) -> None:
        super().__init__(name="worker", daemon=True)
        self._worker = worker
        self._until_idle = until_idle
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            run(self._worker, until_idle=self._until_idle)
            if self._until_idle and isinstance(self._worker.upkeep, BackgroundKeeper):
                self._worker.upkeep.finish(self._is_over)
        except BaseException as error:  # noqa: BLE001 - told by the first thread
            self.error = error

    def _is_over(self) -> bool:
        self._worker.pulse.beat()  # waiting for upkeep is no hanging
        return self._worker.shift.is_ending


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to end; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gpu_worker", description=__doc__)
    parser.add_argument("--until-idle", action="store_true", help="end when the queue is empty")
    options = parser.parse_args(arguments)
    _log_to_stderr(JsonLines())
    threading.excepthook = _log_of_thread
    told = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    pulse = Pulse()
    try:
        if read_log_format(os.environ) == "text":
            _log_to_stderr(TextLines())
        settings = read_program_settings(os.environ)
        with answering(pulse, settings.health):  # already while the encoder is exported
            worker = replace(build_azure_worker(settings), pulse=pulse)
            log.info("started batch=%d", settings.worker.batch)
            return _work_until(told, worker, settings, until_idle=options.until_idle)
    except IndexerError as error:
        log.error("the worker cannot start: %s", error)  # noqa: TRY400 - one line says it all
    except Exception:  # its text may hold what no log may: the formatters leave it out
        log.exception("the worker failed")
    return 1


def _work_until(told: Event, worker: Worker, settings: ProgramSettings, *, until_idle: bool) -> int:
    """Work until told to end, or until nothing is left to do; the exit status."""
    work = _Work(worker, until_idle=until_idle)
    work.start()
    while work.is_alive() and not told.wait(_POLL_S):
        pass
    worker.shift.end()
    if told.is_set():
        log.info("told to end")
    hangs = worker.pulse.age_s > settings.health.stall_s
    work.join(0 if hangs else settings.grace_s)
    if work.is_alive():
        worker.shift.let_go()  # before anything that takes time: it may be killed any moment now
        log.warning("ended in the middle of a batch; its messages are given back")
        worker.telling.telemetry.flush(_FLUSH_S)
        _leave(0)
    worker.telling.telemetry.flush(_FLUSH_S)
    status = _status(work.error)
    if isinstance(worker.upkeep, BackgroundKeeper) and worker.upkeep.is_busy:
        _leave(status)  # a merge that is not committed was never begun
    return status


def _leave(status: int) -> None:
    """End at once: a thread may be anywhere, and waiting for it is what is over."""
    sys.stderr.flush()
    os._exit(status)


def _status(error: BaseException | None) -> int:
    if error is None:
        log.info("ended")
        return 0
    if isinstance(error, IndexerError):
        log.error("the worker cannot go on kind=%s: %s", error.kind, error)
    else:
        log.error("the worker failed", exc_info=error)
    return 1


def _log_of_thread(failed: threading.ExceptHookArgs) -> None:
    """A thread has ended by an exception that nobody expected: the type and the place, no text."""
    if failed.exc_type is not SystemExit:
        about = (failed.exc_type, failed.exc_value, failed.exc_traceback)
        log.error("a thread failed", exc_info=about)  # type: ignore[arg-type]


def _log_to_stderr(formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


if __name__ == "__main__":
    sys.exit(main())
