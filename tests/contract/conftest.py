"""A running Azurite for the contract suites of the Azure adapters."""

import pytest

from indexer_core.adapters.azure.clients import AzureStorage
from tests.support.azurite import missing, running_azurite


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def storage(azurite):
    storage = AzureStorage(azurite.connection_string)
    yield storage
    storage.close()
