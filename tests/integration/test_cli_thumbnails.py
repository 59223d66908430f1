"""Thumbnails on the command line: real WebP files beside the index, and how to have none."""

import json
import sys

import numpy as np
from PIL import Image

from tests.support.cli import uid_of


def pictures(run):
    return sorted((run.data / "index" / "thumbnails").rglob("*.webp"))


def put_three(run):
    run.put("ct/1.dcm", series="ct")
    run.put("us/1.dcm", series="us", SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1", Modality="US")
    run.put("sc/1.dcm", series="sc", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT")


def test_a_small_picture_is_left_of_what_shows_no_text_until_it_is_purged(run):
    put_three(run)
    run.index()
    [path] = pictures(run)
    record = run.records()[uid_of("ct")]
    assert path.name.startswith(f"{record['seriesKey']}-{record['revision']:010d}-")
    with Image.open(path) as image:
        assert (image.format, image.size) == ("WEBP", (128, 128))
        grey = np.asarray(image.convert("L"), dtype=float)
    assert grey[:10, :10].mean() < 30  # a ramp from dark to bright
    assert grey[-10:, -10:].mean() > 225
    told = json.loads(run.run("trace", uid_of("ct")))["index"]["thumbnail"]
    assert run.data / "index" / told == path
    assert json.loads(run.run("trace", uid_of("us")))["index"]["thumbnail"] is None
    run.run("verify")
    run.run("purge", uid_of("ct"))
    assert pictures(run) == []


def test_one_variable_turns_them_off(run, monkeypatch):
    monkeypatch.setenv("DICOM_INDEXER_THUMBNAILS", "off")
    # Then nothing is needed to make them, either.
    monkeypatch.setitem(sys.modules, "PIL", None)
    put_three(run)
    run.index()
    assert len(run.records()) == 3
    assert pictures(run) == []


def test_a_value_or_an_environment_that_does_not_do_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    run.put("ct/1.dcm", series="ct")
    run.run("index", run.folder, status=1)
    assert "pip install 'dicom-indexer[codecs]', or set DICOM_INDEXER_THUMBNAILS=off" in run.error
    monkeypatch.setenv("DICOM_INDEXER_THUMBNAILS", "no")
    run.run("status", status=1)
    assert "DICOM_INDEXER_THUMBNAILS is on or off, not 'no'" in run.error
    assert pictures(run) == []
