"""Pixels: choice of slices, decoding within limits, grey values, stacks."""

import pickle
import struct
import zlib
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MRImageStorage,
    RLELossless,
)

from indexer_core.facts import InstanceFacts
from indexer_core.pixels import (
    PixelError,
    PixelLimits,
    PixelProblem,
    PixelRecipe,
    PixelSource,
    PixelsUnavailable,
    Stack,
    slices_from_bytes,
    stack_of,
    stack_of_object,
)
from indexer_core.pixels.codestream import announced_values
from indexer_core.pixels.decode import Frame, decode_frame, open_pixels
from indexer_core.pixels.display import FrameHeader, frame_header, show, to_display
from indexer_core.pixels.selection import SliceRef, choose_slices

GRADIENT = np.arange(64, dtype=np.int16).reshape(8, 8)


def dicom(values=GRADIENT, frames=1, syntax=ExplicitVRLittleEndian, **elements):
    """A minimal object with native pixels; keyword arguments set or (None) remove elements."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.NumberOfFrames = frames
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = values.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    ds.PixelData = values.tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def as_bytes(ds):
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def complete(ds):
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", MRImageStorage)
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    return as_bytes(ds)


def sample(name):
    return Path(get_testdata_file(name)).read_bytes()


def instance(position=None, number=None, frames=1, orientation=None, has_pixels=True):
    attributes = {}
    if number is not None:
        attributes["InstanceNumber"] = number
    if orientation is not None:
        attributes["ImageOrientationPatient"] = orientation
    return InstanceFacts(
        sop_instance_uid="1",
        series_instance_uid="2",
        study_instance_uid="3",
        sop_class_uid="4",
        transfer_syntax_uid="5",
        patient_key="",
        frames=frames,
        has_pixels=has_pixels,
        attributes=attributes,
        position_mm=position,
    )


def problem_of(data, **limits):
    result = stack_of_object(data, limits=PixelLimits(**limits))
    assert isinstance(result, PixelsUnavailable)
    return result.problem


# Choice of slices


def test_central_slices_are_chosen_by_position_whatever_the_order_given():
    series = [instance(position=float(p), number=99) for p in (40, 10, 30, 0, 20, 50, 60, 70, 80)]
    chosen = [series[ref.instance].position_mm for ref in choose_slices(series)]
    assert chosen == [20.0, 40.0, 60.0]


def test_instance_numbers_order_a_series_that_lacks_one_position():
    series = [instance(position=1.0, number=n) for n in (5, 1, 3, 2)]
    series.append(instance(number=4))
    chosen = [series[ref.instance].attributes["InstanceNumber"] for ref in choose_slices(series)]
    assert chosen == [2, 3, 4]


def test_without_positions_and_numbers_the_given_order_counts():
    series = [instance() for _ in range(5)]
    assert [ref.instance for ref in choose_slices(series)] == [1, 2, 3]


def test_a_short_series_is_taken_whole():
    assert choose_slices([instance(position=2.0), instance(position=1.0)]) == (
        SliceRef(1, 0),
        SliceRef(0, 0),
    )


def test_instances_without_pixels_are_passed_over():
    series = [instance(has_pixels=False), instance()]
    assert choose_slices(series) == (SliceRef(1, 0),)
    assert choose_slices([instance(has_pixels=False)]) == ()


def test_frames_of_a_multi_frame_instance_count_as_slices():
    assert choose_slices([instance(frames=11)]) == (
        SliceRef(0, 3),
        SliceRef(0, 5),
        SliceRef(0, 7),
    )


def test_a_claim_of_a_billion_frames_costs_nothing():
    refs = choose_slices([instance(frames=10**12)])
    assert len(refs) == 3


def test_the_most_frequent_orientation_represents_a_localizer():
    axial, sagittal = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    series = [instance(position=float(i), orientation=sagittal) for i in range(2)]
    series += [instance(position=float(i), orientation=axial) for i in range(3)]
    assert {ref.instance for ref in choose_slices(series)} == {2, 3, 4}


@given(
    st.lists(st.tuples(st.floats(-500, 500) | st.none(), st.integers(0, 5)), max_size=30),
    st.integers(1, 6),
    st.floats(0.0, 1.0),
)
def test_every_choice_is_of_distinct_existing_frames(series, n, share):
    instances = [
        instance(position=position, frames=frames, has_pixels=frames > 0)
        for position, frames in series
    ]
    refs = choose_slices(instances, n, share)
    assert len(set(refs)) == len(refs) == min(n, sum(i.frames for i in instances))
    assert all(0 <= ref.frame < instances[ref.instance].frames for ref in refs)


# Decoding and its limits


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_gdcm.dcm",
     "examples_palette.dcm", "examples_rgb_color.dcm", "examples_ybr_color.dcm",
     "liver_1frame.dcm", "SC_ybr_full_422_uncompressed.dcm", "MR_small_bigendian.dcm",
     "image_dfl.dcm"],
)  # fmt: skip
def test_every_common_encoding_gives_a_sound_stack(name):
    result = stack_of_object(sample(name))
    assert isinstance(result, Stack)
    assert result.slices.dtype == np.float32
    assert result.slices.shape[1:] == (256, 256)
    assert result.slices.flags.c_contiguous
    assert not result.slices.flags.writeable
    assert 0.0 <= result.slices.min() < result.slices.max() <= 1.0


def test_lossless_codecs_give_the_same_slices_as_native_pixels():
    native = stack_of_object(sample("MR_small.dcm")).slices
    assert np.array_equal(native, stack_of_object(sample("MR_small_RLE.dcm")).slices)
    assert np.array_equal(native, stack_of_object(sample("MR_small_jp2klossless.dcm")).slices)


def test_only_the_frame_asked_for_is_decoded():
    values = np.stack([GRADIENT + 100 * i for i in range(5)]).astype(np.int16)
    source = open_pixels(complete(dicom(values, frames=5)))
    assert np.array_equal(decode_frame(source, 3).values, values[3])


def test_frames_before_a_truncation_are_still_decoded():
    values = np.stack([GRADIENT] * 4)
    ds = dicom(values, frames=4)
    ds.PixelData = ds.PixelData[: 2 * GRADIENT.nbytes]
    first, last = slices_from_bytes(complete(ds), [1, 3])
    assert isinstance(first, np.ndarray)
    assert last == PixelsUnavailable(PixelProblem.TRUNCATED)


def test_a_missing_frame_is_named_as_such():
    assert slices_from_bytes(complete(dicom()), [1]) == (
        PixelsUnavailable(PixelProblem.NO_SUCH_FRAME),
    )


def test_objects_without_pixels_and_other_bytes_are_told_apart_from_bad_pixels():
    assert problem_of(complete(dicom(PixelData=None))) is PixelProblem.NO_PIXELS
    assert problem_of(b"") in {PixelProblem.NO_PIXELS, PixelProblem.NOT_DICOM}
    assert problem_of(b"%PDF-1.7 not dicom at all" * 50) in {
        PixelProblem.NO_PIXELS,
        PixelProblem.NOT_DICOM,
    }
    assert problem_of(sample("MR_truncated.dcm")) is PixelProblem.TRUNCATED


def test_a_header_that_announces_too_much_is_refused_before_allocation():
    ds = dicom(Rows=65535, Columns=65535)
    assert problem_of(complete(ds)) is PixelProblem.TOO_LARGE


def test_a_compressed_stream_that_announces_more_than_its_header_is_refused():
    stream = bytearray(
        pydicom.encaps.get_frame(
            pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm")).PixelData, 0
        )
    )
    siz = stream.index(b"\xff\x51")
    stream[siz + 6 : siz + 14] = struct.pack(">2I", 60000, 60000)
    ds = dicom(syntax=JPEG2000Lossless)
    ds.PixelData = encapsulate([bytes(stream)])
    ds["PixelData"].is_undefined_length = True
    assert problem_of(complete(ds)) is PixelProblem.TOO_LARGE


def test_a_deflated_bomb_is_refused_before_it_is_inflated():
    meta = dicom(syntax=DeflatedExplicitVRLittleEndian)
    head = complete(meta)[: 144 + int.from_bytes(complete(meta)[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = head + packer.compress(bytes(20_000_000)) + packer.flush()
    assert len(bomb) < 50_000
    assert problem_of(bomb, max_inflated_bytes=1_000_000) is PixelProblem.TOO_LARGE


def test_garbage_in_a_known_codec_is_a_problem_and_no_exception():
    for syntax in (JPEG2000Lossless, JPEGBaseline8Bit, RLELossless):
        ds = dicom(syntax=syntax)
        ds.PixelData = encapsulate([b"\x00\x01" * 100])
        ds["PixelData"].is_undefined_length = True
        assert problem_of(complete(ds)) is PixelProblem.UNDECODABLE


def test_an_unknown_transfer_syntax_is_a_missing_codec():
    ds = dicom(syntax=JPEG2000Lossless)
    ds.PixelData = encapsulate([b"\x00\x01" * 100])
    ds["PixelData"].is_undefined_length = True
    data = complete(ds)
    assert data.count(JPEG2000Lossless.encode()) == 1
    unknown = data.replace(JPEG2000Lossless.encode(), b"1.2.840.10008.1.2.4.99")
    assert problem_of(unknown) is PixelProblem.NO_CODEC


@given(st.binary(max_size=300))
def test_any_bytes_give_a_stack_or_a_reason(data):
    assert isinstance(stack_of_object(data), Stack | PixelsUnavailable)


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_a_damaged_object_gives_a_stack_or_a_reason(place, noise):
    data = bytearray(sample("CT_small.dcm"))
    data[place : place + len(noise)] = noise
    result = stack_of_object(bytes(data), limits=PixelLimits(max_frame_bytes=1 << 22))
    if isinstance(result, Stack):
        assert np.isfinite(result.slices).all()


@given(st.binary(max_size=200))
def test_reading_the_size_of_a_damaged_stream_never_fails(tail):
    for start in (b"\xff\xd8", b"\xff\x4f\xff\x51", b""):
        announced_values(start + tail)


def test_the_size_in_jpeg_streams_is_found():
    ds = pydicom.dcmread(get_testdata_file("SC_rgb_jpeg_gdcm.dcm"))
    stream = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    assert announced_values(stream) == ds.Rows * ds.Columns * 3


def test_the_error_of_a_frame_holds_a_code_and_no_header_text():
    with pytest.raises(PixelError) as caught:
        open_pixels(complete(dicom(PixelData=None, PatientName="Planted^Name")))
    assert str(caught.value) == "noPixels"


# Grey values


def test_a_constant_image_is_all_zeros_in_either_photometric_interpretation():
    values = np.full((8, 8), 7, dtype=np.int16)
    for inverted in (False, True):
        shown = to_display(Frame(values=values), FrameHeader(inverted=inverted))
        assert shown.dtype == np.float32
        assert not shown.any()


def test_monochrome1_is_the_negative_of_monochrome2():
    light = to_display(Frame(values=GRADIENT), FrameHeader())
    dark = to_display(Frame(values=GRADIENT), FrameHeader(inverted=True))
    assert np.array_equal(dark, 1 - light)
    assert frame_header(dicom(PhotometricInterpretation="MONOCHROME1"), 0).inverted


def test_computed_tomography_in_hounsfield_units_gets_the_soft_tissue_window():
    hounsfield = np.array([[-1000, -160, 40], [140, 240, 3000]], dtype=np.int16)
    ds = dicom(
        hounsfield + 1024, SOPClassUID=CTImageStorage, Modality="CT",
        RescaleSlope=1, RescaleIntercept=-1024,
    )  # fmt: skip
    shown = show(Frame(values=hounsfield + 1024), ds, 0)
    assert np.allclose(shown, [[0, 0, 0.5], [0.75, 1, 1]])


def test_a_window_that_hides_everything_is_replaced_by_percentiles():
    values = (GRADIENT + 3000).astype(np.int16)
    shown = to_display(Frame(values=values), FrameHeader(hounsfield=True))
    assert shown.max() - shown.min() > 0.9


def test_radiography_follows_the_window_of_its_header_and_other_modalities_do_not():
    windowed = {"WindowCenter": 32, "WindowWidth": 8}
    assert frame_header(dicom(Modality="DX", **windowed), 0).window == (32.0, 8.0)
    assert frame_header(dicom(Modality="MR", **windowed), 0).window is None
    assert frame_header(dicom(Modality="DX", WindowCenter=32, WindowWidth=0), 0).window is None
    several = dicom(Modality="DX", WindowCenter=[10, 20], WindowWidth=[4, 5])
    assert frame_header(several, 0).window == (10.0, 4.0)


def test_the_functional_group_of_the_frame_outranks_the_top_level():
    item, transformation = Dataset(), Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = 2, 5
    item.PixelValueTransformationSequence = Sequence([transformation])
    ds = dicom(RescaleSlope=1, RescaleIntercept=0)
    ds.PerFrameFunctionalGroupsSequence = Sequence([Dataset(), item])
    second, first = frame_header(ds, 1), frame_header(ds, 0)
    assert (second.rescale_slope, second.rescale_intercept) == (2.0, 5.0)
    assert (first.rescale_slope, first.rescale_intercept) == (1.0, 0.0)


def test_colour_becomes_luminance():
    rgb = np.array([[[255, 255, 255], [0, 0, 0], [0, 255, 0]]], dtype=np.uint8)
    shown = to_display(Frame(values=rgb, colour_maximum=255), FrameHeader())
    assert np.allclose(shown, [[1.0, 0.0, 0.587]], atol=1e-6)


def test_not_a_number_and_infinity_do_not_reach_the_image():
    values = GRADIENT.astype(np.float32)
    values[0, :3] = (np.nan, np.inf, -np.inf)
    assert np.isfinite(to_display(Frame(values=values), FrameHeader())).all()


@given(
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.float64]),
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1),
    st.floats(-1e6, 1e6), st.floats(-1e6, 1e6),
)  # fmt: skip
def test_every_image_is_shown_within_the_unit_range(dtype, rows, columns, seed, slope, intercept):
    random = np.random.default_rng(seed)
    values = (random.normal(size=(rows, columns)) * 50).clip(-120, 120)
    header = FrameHeader(rescale_slope=slope, rescale_intercept=intercept)
    shown = to_display(Frame(values=np.abs(values).astype(dtype)), header)
    assert shown.shape == (rows, columns)
    assert np.isfinite(shown).all()
    assert shown.min() >= 0
    assert shown.max() <= 1


# Stacks and the recipe


def sources_of(blobs, fetched=None):
    def fetch_of(index):
        def fetch():
            if fetched is not None:
                fetched.append(index)
            return blobs[index]

        return fetch

    return [
        PixelSource(facts=instance(position=float(i)), fetch=fetch_of(i)) for i in range(len(blobs))
    ]


def test_a_stack_fetches_only_the_chosen_instances():
    fetched = []
    blobs = [complete(dicom((GRADIENT + i).astype(np.int16))) for i in range(9)]
    result = stack_of(sources_of(blobs, fetched))
    assert isinstance(result, Stack)
    assert result.slices.shape == (3, 256, 256)
    assert fetched == [2, 4, 6]


def test_one_undecodable_slice_leaves_the_others():
    blobs = [complete(dicom()), b"garbage", complete(dicom())]
    result = stack_of(sources_of(blobs))
    assert isinstance(result, Stack)
    assert result.slices.shape[0] == 2
    assert len(result.problems) == 1


def test_one_object_that_is_too_large_to_fetch_leaves_the_others():
    sources = sources_of([complete(dicom())] * 3)

    def refuse():
        raise PixelError(PixelProblem.TOO_LARGE)

    result = stack_of([sources[0], replace(sources[1], fetch=refuse), sources[2]])
    assert isinstance(result, Stack)
    assert result.slices.shape[0] == 2
    assert result.problems == (PixelProblem.TOO_LARGE,)


def test_a_series_of_which_nothing_decodes_is_a_value_with_its_reason():
    assert stack_of(sources_of([complete(dicom(PixelData=None))])) == PixelsUnavailable(
        PixelProblem.NO_PIXELS
    )
    assert stack_of([]) == PixelsUnavailable(PixelProblem.NO_PIXELS)


def test_a_failing_fetch_is_not_mistaken_for_bad_pixels():
    def fetch():
        raise ConnectionError

    with pytest.raises(ConnectionError):
        stack_of([PixelSource(facts=instance(), fetch=fetch)])


def test_the_entry_function_and_its_results_travel_between_processes():
    entry = pickle.loads(pickle.dumps(slices_from_bytes))
    good, bad = entry(complete(dicom()), [0, 5], PixelRecipe(), PixelLimits())
    assert np.array_equal(pickle.loads(pickle.dumps(good)), good)
    assert pickle.loads(pickle.dumps(bad)) == bad


def test_every_parameter_of_the_recipe_changes_its_id():
    recipe = PixelRecipe()
    assert recipe.recipe_id == PixelRecipe().recipe_id
    for field in fields(PixelRecipe):
        changed = replace(recipe, **{field.name: getattr(recipe, field.name) + 1})
        assert changed.recipe_id != recipe.recipe_id


def test_fragments_without_an_offset_table_stay_with_their_frames():
    first, second = (
        pydicom.encaps.get_frame(pydicom.dcmread(get_testdata_file(name)).PixelData, 0)
        for name in ("MR_small_RLE.dcm", "MR_small_RLE.dcm")
    )
    plain = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm"))
    single = stack_of_object(as_bytes(plain)).slices[0]
    plain.NumberOfFrames = 2
    plain.PixelData = encapsulate([first, second], has_bot=False)
    both = stack_of_object(as_bytes(plain)).slices
    assert both.shape[0] == 2
    assert np.array_equal(both[0], single)
    assert np.array_equal(both[1], single)
