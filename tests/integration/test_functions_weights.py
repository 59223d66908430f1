"""The app takes its weights from the container of the index, and only if they are what was left.

A flipped bit of a weight still computes: without a look at the digest it would be searched with.
"""

import pytest

from benchmarks.package import account, filled
from local_host.encoders import LocalEncoders
from tests.support import azurite, functions_host
from tests.support.functions_host import ROOT, FunctionsHost

pytestmark = [
    pytest.mark.azurite,
    pytest.mark.slow,
    pytest.mark.skipif(azurite.missing() is not None, reason=str(azurite.missing())),
    pytest.mark.skipif(functions_host.missing() is not None, reason=str(functions_host.missing())),
]


def searched(work, index, encoders):
    with account(work / "account", index, encoders) as settings:
        told = {**settings, "INDEXER_CACHE_DIR": str(work / "copies")}
        host = FunctionsHost(ROOT, told, work / "log")
        try:
            return host.request("GET", "/api/search", query={"q": "a brain"})
        finally:
            host.close()


def test_weights_that_were_changed_in_the_container_are_not_used(tmp_path, exported):
    folder = LocalEncoders(exported).default_folder
    filled(tmp_path / "index", exported, 8, 1)
    answer = searched(tmp_path / "intact", tmp_path / "index", exported)
    assert answer.status == 200
    assert len(answer.json()["value"]) == 8

    changed = tmp_path / "changed" / folder.name
    changed.mkdir(parents=True)
    for file in folder.iterdir():
        data = bytearray(file.read_bytes())
        if file.name == "model.onnx":
            data[len(data) // 2] ^= 1
        (changed / file.name).write_bytes(data)
    answer = searched(tmp_path / "tampered", tmp_path / "index", changed.parent)
    assert (answer.status, answer.json()["code"]) == (500, "corruptIndex")
