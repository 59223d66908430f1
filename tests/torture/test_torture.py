"""Writers, mergers, a collector, purges and readers, killed everywhere: nothing gets lost or wrong.

`make torture` does it for ten minutes. Here it goes on until enough has been seen, at least for a
minute; how long that takes depends on the machine, what is asserted does not.
"""

import random

import pytest

from tests.torture.director import Director, scratch_folder

AT_LEAST_S = 60.0
AT_MOST_S = 1500.0


@pytest.mark.slow
@pytest.mark.timeout(AT_MOST_S + 600)
def test_index_survives_a_minute_of_torture():
    said = [f"seed {(seed := random.randrange(1 << 30))}"]
    with scratch_folder() as folder:
        report = Director(folder, seed, said.append).run(AT_LEAST_S, AT_MOST_S)
    told = "\n".join([*said, *report.lines()])
    assert not report.problems, told
    assert not report.missing, told
