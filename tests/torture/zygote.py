"""Starts processes by forking: loading the libraries anew for every one would take seconds.

Reads specifications from standard input, one JSON object a line, and reports ``{"pid", "number"}``
of what was started and ``{"pid", "status"}`` of what has ended (negative: the signal). It ends with
its input, and everything that it started with it.
"""

import json
import os
import select
import signal
import sys
from typing import Any

from tests.torture.actors import Actor, Spec, collects, merges, purges, writes
from tests.torture.readers import reads

_POLL_S = 0.02
_STEPS = {
    "writer": writes,
    "merger": merges,
    "collector": collects,
    "purger": purges,
    "reader": reads,
}


def main() -> None:
    """Serve until the input ends."""
    running: set[int] = set()
    pending = b""
    while True:
        ready, _, _ = select.select([0], [], [], _POLL_S)
        if ready:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                running.add(_start(Spec(**json.loads(line))))
        _reap(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGCONT)


def _start(spec: Spec) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(0)
            Actor(spec).run(_STEPS[spec.role])
            status = 0
        finally:
            os._exit(status)
    _say({"pid": pid, "number": spec.number})
    return pid


def _reap(running: set[int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        running.discard(pid)
        _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
