"""Decoding in child processes: what a hostile file does there stays there."""

import os
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from indexer_core.adapters.decoding import ChildLimits, DecodingChildren
from indexer_core.adapters.decoding import children as decoding
from indexer_core.anatomy import Anatomy
from indexer_core.pixels.errors import PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import PixelLimits, PixelRecipe
from indexer_core.pixels.stack import slices_from_bytes
from tests.support.dicom import dicom_object

RECIPE = PixelRecipe()
LIMITS = PixelLimits()


def decoded(children, data, frames=None):
    return children(data, frames, RECIPE, LIMITS)


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, PixelsUnavailable):
            assert one == other
        else:
            np.testing.assert_array_equal(one, other)


@pytest.fixture
def children():
    with DecodingChildren() as running:
        yield running


@pytest.fixture
def hostile(monkeypatch, tmp_path):
    """Children whose decoder does what the object says, as a defect in a decoder would."""
    (tmp_path / "hostile_child.py").write_text(
        """
import ctypes, os, time
from indexer_core.adapters.decoding import child as decoding_child
decode = decoding_child.slices_from_bytes

def obey(data, *others):
    if data == b"segfault":
        ctypes.string_at(0)
    if data == b"hang":
        time.sleep(3600)
    if data == b"eat":
        return [bytearray(1 << 28) for _ in range(1000)]
    if data == b"exit":
        os._exit(0)
    if data == b"print":
        os.write(1, b"x" * 1000)
        return decode(b"", *others)
    return decode(data, *others)

decoding_child.slices_from_bytes = obey
decoding_child.main()
"""
    )
    popen = decoding.subprocess.Popen

    def start(arguments, **options):
        options["env"]["PYTHONPATH"] += os.pathsep + str(tmp_path)
        return popen([*arguments[:-1], "hostile_child"], **options)

    monkeypatch.setattr(decoding.subprocess, "Popen", start)
    with DecodingChildren() as running:
        yield running


def test_a_child_uses_the_window_of_the_series(children):
    data = dicom_object(SeriesDescription="Chest", RescaleSlope=8, RescaleIntercept=-1024)
    recipe = RECIPE.for_anatomy(Anatomy(region="chest"))
    found = children(data, None, recipe, LIMITS)
    same(found, slices_from_bytes(data, None, recipe, LIMITS))
    assert not np.array_equal(found[0], decoded(children, data)[0])


def test_a_child_makes_slices_as_large_as_they_are_wanted_at_one_request_and_the_next(children):
    data, large = dicom_object(), PixelRecipe(rows=480, columns=480)
    for recipe in (RECIPE, large, RECIPE):
        found = children(data, [0], recipe, LIMITS)
        assert found[0].shape == (recipe.rows, recipe.columns)
        same(found, slices_from_bytes(data, [0], recipe, LIMITS))
    assert children._idle.qsize() == 1


def test_children_make_what_the_process_itself_makes(children, samples):
    files = sorted(samples.rglob("*.dcm"))[::60]
    assert files
    for path in files:
        data = path.read_bytes()
        same(decoded(children, data), slices_from_bytes(data))
    data = dicom_object()
    same(decoded(children, data, [0, 7]), slices_from_bytes(data, [0, 7]))


def test_one_child_is_used_again_and_again(children):
    for _ in range(3):
        decoded(children, dicom_object())
    assert children._idle.qsize() == 1


def test_threads_have_a_child_each(children):
    data, expected = dicom_object(), slices_from_bytes(dicom_object())
    with ThreadPoolExecutor(2) as threads:
        for found in threads.map(lambda _: decoded(children, data), range(20)):
            same(found, expected)
    assert 1 <= children._idle.qsize() <= 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"segfault", PixelProblem.CRASHED),
        (b"exit", PixelProblem.CRASHED),
        (b"hang", PixelProblem.TOO_SLOW),
        (b"eat", PixelProblem.TOO_LARGE),
    ],
)
def test_a_decoder_that_goes_wrong_costs_one_file_only(hostile, data, problem):
    hostile.limits = ChildLimits(seconds=1 if data == b"hang" else 600, memory_bytes=1 << 29)
    same(decoded(hostile, data, [0, 1]), [PixelsUnavailable(problem)] * 2)
    good = dicom_object()
    hostile.limits = ChildLimits()
    same(decoded(hostile, good), slices_from_bytes(good))


def test_what_a_decoder_prints_is_not_taken_for_an_answer(hostile):
    same(decoded(hostile, b"print"), slices_from_bytes(b""))


def test_a_child_that_is_killed_between_two_files_is_replaced(children):
    good = dicom_object()
    decoded(children, good)
    child = children._idle.get()
    child._process.send_signal(signal.SIGKILL)
    child._process.wait()
    children._idle.put(child)
    same(decoded(children, good), slices_from_bytes(good))


def test_a_child_holds_no_setting_of_the_program(children, monkeypatch):
    monkeypatch.setenv("INDEXER_PATIENT_KEY", "planted")
    decoded(children, dicom_object())
    pid = children._idle.queue[0]._process.pid
    assert b"planted" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_child_takes_no_module_from_the_folder_of_the_user(children, monkeypatch, tmp_path):
    (tmp_path / "pydicom.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    same(decoded(children, dicom_object()), slices_from_bytes(dicom_object()))


def test_closing_ends_the_children(children):
    decoded(children, dicom_object())
    process = children._idle.queue[0]._process
    children.close()
    assert process.returncode is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 11,
        struct.pack("<IQ", 1 << 31, 0),
        struct.pack("<IQ", 2, 1 << 62) + b"[]",
        struct.pack("<IQ", 8, 0) + b"not json",
        struct.pack("<IQ", 6, 0) + b"[null]",
        struct.pack("<IQ", 12, 0) + b'["whatever"]',
        struct.pack("<IQ", 6, 4 * 256 * 256) + b"[null]" + b"\xff" * (4 * 256 * 256),
        struct.pack("<IQ", 60, 0) + b"[" + b"null," * 11 + b"null",
    ],
)
def test_nonsense_from_a_child_is_not_believed(monkeypatch, tmp_path, answer):
    (tmp_path / "answer").write_bytes(answer)
    popen = decoding.subprocess.Popen

    def start(arguments, **options):
        return popen(["cat", str(tmp_path / "answer")], **options)

    monkeypatch.setattr(decoding.subprocess, "Popen", start)
    with DecodingChildren() as children:
        same(decoded(children, b"x", [0]), [PixelsUnavailable(PixelProblem.CRASHED)])


FUZZED = (
    "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "JPEGLSNearLossless_16.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "examples_palette.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
)


@pytest.mark.parametrize("name", FUZZED)
def test_a_damaged_file_costs_itself_only_whatever_its_decoder_makes_of_it(children, name):
    """Real decoders over real damage: now and then one crashes, which is what children are for."""
    whole = Path(str(get_testdata_file(name))).read_bytes()
    expected = slices_from_bytes(whole, None, RECIPE, LIMITS)
    random = Random(name)
    for _ in range(12):
        damaged = bytearray(whole[: random.choice((len(whole), random.randrange(len(whole))))])
        for _ in range(random.choice((1, 3, 20))):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        for found in decoded(children, bytes(damaged)):
            assert isinstance(found, PixelsUnavailable | np.ndarray)
    same(decoded(children, whole), expected)
