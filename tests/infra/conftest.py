"""The templates as they are, and the type data where it is at hand."""

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def files():
    from infra.check.scenarios import read_files

    return read_files()


@pytest.fixture(scope="session")
def types():
    """The type data, or None: then types and properties are not checked."""
    from infra.check.type_data import find_type_data

    return find_type_data(ROOT)


@pytest.fixture
def type_data(types):
    if types is None:
        pytest.skip("no type data: set BICEP_TYPES to bicep-types.json")
    return types
