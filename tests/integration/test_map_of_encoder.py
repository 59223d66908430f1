"""The map after the pictures were changed to another encoder: everything moved, and is told."""

from contextlib import closing

import pytest

from indexer_core.descriptor import ImageDescriptor
from local_host.encoder_changes import change_of_images
from local_host.settings import read_settings
from local_host.wiring import LocalSystem
from tests.support.mapped import Heard


class OtherEncoder(ImageDescriptor):
    """Sees what the descriptor sees, the other way round."""

    def __init__(self):
        super().__init__()
        self.encoder_id = "image/other"

    def encode(self, stacks):
        return -super().encode(stacks)


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def changed(run, heard):
    """An index of two series that changed to another encoder of pictures; the manifest of that."""
    run.put("a.dcm", series="a", value=3)
    run.put("b.dcm", series="b", value=9)
    run.index()
    with closing(LocalSystem(read_settings(str(run.data), {}), announcer=heard)) as system:
        change = change_of_images(OtherEncoder(), system)
        change.start()
        yield change.switch(lambda *_: None)


def test_a_change_of_the_image_encoder_is_a_major_version_of_the_map(changed, run):
    assert changed.projection.version == "1.0"
    assert {record["projectionVersion"] for record in run.records().values()} == {"1.0"}
    assert "it was never fitted" in run.run("map", "status")
    # It was never fitted, so a first fit is not refused for moving what stands.
    run.run("map", "fit", status=1)
    assert "a map needs at least 32 different vectors" in run.error


def test_a_change_of_the_image_encoder_is_announced(changed, heard):
    assert [(a.subject, a.data) for a in heard.all] == [
        ("projection/1.0", {"version": "1.0", "manifest": changed.number})
    ]
