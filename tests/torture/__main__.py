"""`make torture`: a long run; exit status 1 when something was wrong or nothing was proven."""

import argparse
import random
import sys
from pathlib import Path

from tests.torture.director import Director, scratch_folder


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--at-most", type=float, help="seconds after which it is given up")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--folder", type=Path, help="an empty one, which is kept")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    with scratch_folder() as scratch:
        director = Director(options.folder or scratch, options.seed, _say)
        report = director.run(options.seconds, options.at_most or 3 * options.seconds)
    for line in report.lines():
        _say(line)
    return 1 if report.problems or report.missing else 0


if __name__ == "__main__":
    sys.exit(main())
