"""Faults by operators over every resource: at least nine in ten are caught.

Two hundred faults, twenty by each operator where there are so many, take a minute or two: that is
`slow` here, and the survivors are printed. The same with fewer faults runs always.
"""

import random

import pytest

from infra.check.rules import find_problems
from tests.infra.mutations import mutations

SEED = 20261127
OPERATORS = {
    "change a key",
    "change a name",
    "change a role",
    "change a type",
    "change a value",
    "drop a dependency",
    "drop a property",
    "drop a resource",
    "drop a role",
    "drop an item",
}


def sampled(files, count):
    """Faults, no two alike: as many of each operator as there are, and then whichever."""
    chance = random.Random(SEED)
    found = mutations(files)
    chance.shuffle(found)
    by_operator = {operator: [] for operator in sorted(OPERATORS)}
    for one in found:
        by_operator[one.operator].append(one)
    chosen = [one for all_of in by_operator.values() for one in all_of[: count // len(OPERATORS)]]
    rest = [one for one in found if one not in chosen]
    return chosen + rest[: count - len(chosen)]


def survivors(files, types, faults):
    return [one for one in faults if not find_problems(one.applied(files), types)]


def test_every_resource_and_module_is_a_target(files):
    found = mutations(files)
    declared = sum(
        source.count("\nresource ") + source.count("\nmodule ") for source in files.values()
    )
    assert sum(one.operator == "drop a resource" for one in found) == declared


def test_every_operator_is_sampled(files):
    faults = sampled(files, 200)
    assert len(faults) == 200
    assert {one.operator for one in faults} == OPERATORS


def test_nine_in_ten_of_a_few_are_caught(files, type_data):
    faults = sampled(files, 30)
    left = survivors(files, type_data, faults)
    assert len(left) <= len(faults) // 10, "\n".join(map(str, left))


@pytest.mark.slow
def test_nine_in_ten_of_two_hundred_are_caught(files, type_data):
    faults = sampled(files, 200)
    left = survivors(files, type_data, faults)
    print(f"{len(faults) - len(left)} of {len(faults)} caught; these are not:")
    print("\n".join(map(str, left)))
    assert len(left) <= len(faults) // 10, "\n".join(map(str, left))
