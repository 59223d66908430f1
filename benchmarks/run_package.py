"""Measure the package over 120,000 series and write docs/benchmarks-package.md."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import package  # noqa: E402
from benchmarks.pages import table  # noqa: E402
from benchmarks.parts import Kept, lines_of, machines, run  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-package.md"
PARTS = {"package": package}


def page(kept: Kept) -> str:
    """docs/benchmarks-package.md."""
    return f"""# The Functions package: memory and start

Written by `make bench-package` (`benchmarks/run_package.py`); do not edit.

{table(lines_of(PARTS, kept))}

## How this was measured
{machines(kept)}

- What `make package` has built, under Python 3.13 in Microsoft's worker library, in a process of
  its own over Azurite on the same two cores: an account in Azure has other times. The host, a
  program beside it in the same instance, is not measured: {package.SPARE_MB} MB are left for it.
- Five random vectors of 384 dimensions for every series: all distinct, as texts never are.
- Memory is that of `/proc/PID/status`: resident, of that private and mapped, and the most so far.
  What is mapped are copies of the index's files, and code: the system takes such pages back when
  memory is short. Copies take half of the disk that is free: of the {package.TEMPORARY_MB} MB that
  an instance of Flex Consumption has for temporary files, {package.TEMPORARY_MB // 2} MB; what
  they have no room for is held in memory.
- From start to first answer a process imports the app, fetches its text encoder and checks it, then
  fetches the files of the index and checks them: that last part is most of it, and is as long as
  the files are large. Times are of a machine that has done other work, too, where its load was
  above its cores.
- Flex Consumption has instances of 512, 2,048 and 4,096 MB. The templates take 2,048 (`dev`) or
  4,096 (`prod-private`).
"""


def _write(kept: Kept) -> None:
    PAGE.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    package.refuse_another()
    run(PARTS, description=__doc__, prefix="measured-package-", write=_write)
