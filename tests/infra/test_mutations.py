"""Faults by operators over every resource: at least nine in ten are caught.

Here a few are tried; `make mutate-infra` tries two hundred and lists what is not caught.
"""

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from tests.infra.mutations import COUNT, OPERATORS, mutations, sampled, survivors


def test_every_resource_and_module_is_a_target(files):
    found = mutations(files)
    declared = sum(
        source.count("\nresource ") + source.count("\nmodule ") for source in files.values()
    )
    assert sum(one.operator == "drop a resource" for one in found) == declared


def test_two_hundred_faults_are_two_hundred_and_of_every_kind(files):
    faults = sampled(files, COUNT)
    assert len(set(faults)) == COUNT
    assert {one.operator for one in faults} == set(OPERATORS)


def test_nine_in_ten_are_caught(files, type_data):
    faults = sampled(files, 40)
    left = survivors(files, type_data, faults)
    assert len(left) <= len(faults) // 10, "\n".join(map(str, left))
