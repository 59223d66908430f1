"""What an image encoder sees: windows by region, presentations of headers, activity, padding."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi, apply_windowing
from pydicom.sequence import Sequence

from indexer_core.anatomy import Anatomy
from indexer_core.pixels.decode import Frame
from indexer_core.pixels.display import FrameHeader, frame_header, show, to_display
from indexer_core.pixels.lookup import lookup_table
from indexer_core.pixels.placing import frames_along_normal
from indexer_core.pixels.recipe import (
    _WINDOW_OF_PART,
    _WINDOW_OF_REGION,
    PixelRecipe,
)
from indexer_core.pixels.stack import stack_of_object
from indexer_core.rules import load_rules
from indexer_core.rules.model import REGIONS
from tests.support.dicom import dicom_object
from tests.support.pipeline import Pipeline, slice_of

RECIPE = PixelRecipe()
RAMP = np.arange(0, 4096, dtype=np.int16).reshape(64, 64)


def table(first, outputs, bits=16, vr="US"):
    """An item of a lookup table sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(outputs) % 65536, first, bits])
    item.add_new("LUTData", vr, outputs)
    return Sequence([item])


def radiograph(**attributes):
    dataset = Dataset()
    dataset.Modality = "DX"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def shown(values, dataset):
    return show(Frame(values=values), dataset, 0)


def ct(hounsfield, **attributes):
    stored = (np.asarray(hounsfield) + 1024).astype(np.int16)
    return dicom_object(
        PixelRepresentation=1,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        Rows=stored.shape[0],
        Columns=stored.shape[1],
        PixelData=stored.tobytes(),
        **attributes,
    )


# Computed tomography


@pytest.mark.parametrize(
    ("anatomy", "black", "white"),
    [
        (Anatomy(), -160, 240),
        (Anatomy(region="unknown"), -160, 240),
        (Anatomy(region="abdomen", part="liver"), -160, 240),
        (Anatomy(region="chest", part="lung"), -1350, 150),
        (Anatomy(region="chest", part="thoracic aorta"), -160, 240),
        (Anatomy(region="spine"), -500, 1300),
        (Anatomy(region="lower extremity", part="knee"), -500, 1300),
        (Anatomy(region="head", part="brain"), 0, 80),
        (Anatomy(region="head", part="paranasal sinuses"), -500, 1300),
    ],
)
def test_computed_tomography_is_seen_through_the_window_of_its_region(anatomy, black, white):
    ends = np.array([[black - 20, black, (black + white) // 2, white, white + 20]] * 5)
    [image] = stack_of_object(ct(ends), PixelRecipe(rows=5, columns=5), anatomy=anatomy).slices
    assert np.allclose(image[0], [0, 0, 0.5, 1, 1], atol=0.01)


def test_every_region_and_part_that_has_a_window_is_one_that_the_rules_know():
    rules = load_rules()
    terms = {part["term"] for part in rules.tables["body_parts"]["parts"].values()}
    assert set(_WINDOW_OF_REGION) <= set(REGIONS)
    assert set(_WINDOW_OF_PART) <= terms


def test_the_worker_prepares_a_series_for_what_its_header_shows():
    windows = {}

    def decode(data, frames, recipe, limits):
        windows[len(windows)] = recipe.ct_width_hu
        return [np.zeros((recipe.rows, recipe.columns), dtype=np.float32)] * len(frames)

    pipeline = Pipeline()
    for description in ("Chest lung", "Abdomen", "Lumbar spine bone"):
        pipeline.upload(
            f"{description}.dcm", slice_of(series=description, SeriesDescription=description)
        )
    process = pipeline.process(decode=decode)
    pipeline.settle(process)
    assert sorted(windows.values()) == [400.0, 1500.0, 1800.0]


def test_a_recipe_made_for_an_anatomy_leaves_the_others_windows_alone():
    made = RECIPE.for_anatomy(Anatomy(region="chest"))
    assert made.for_anatomy(Anatomy(region="spine")).ct_width_hu == RECIPE.bone_width_hu
    assert RECIPE.for_anatomy(Anatomy()) == RECIPE


def test_a_localizer_is_seen_by_its_own_percentiles():
    dataset = radiograph(
        Modality="CT",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        RescaleIntercept=-1024,
        RescaleSlope=1,
    )
    assert not frame_header(dataset, 0).hounsfield
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert frame_header(dataset, 0).hounsfield


@pytest.mark.parametrize(
    ("unit", "kind", "hounsfield"),
    [
        (None, "DERIVED", True),
        ("HU", "DERIVED", True),
        ("US", "ORIGINAL", True),
        ("US", "DERIVED", False),
        ("EDW", "ORIGINAL", False),
        ("MGML", "ORIGINAL", False),
    ],
)
def test_windows_are_for_hounsfield_units_and_for_nothing_else(unit, kind, hounsfield):
    dataset = radiograph(
        Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2", ImageType=[kind, "PRIMARY"],
        RescaleIntercept=-1024, RescaleSlope=1,
    )  # fmt: skip
    if unit is not None:
        dataset.RescaleType = unit
    assert frame_header(dataset, 0).hounsfield == hounsfield


# Radiography


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_is_applied_as_pydicom_applies_it(function):
    dataset = radiograph(WindowCenter=1800, WindowWidth=1000, VOILUTFunction=function)
    dataset.BitsStored = 12
    expected = apply_windowing(RAMP.astype(np.uint16), dataset) / 4095
    assert np.allclose(shown(RAMP.astype(np.uint16), dataset), expected, atol=1e-4)


@pytest.mark.parametrize("as_words", [False, True])
@pytest.mark.parametrize("first", [0, 100])
def test_a_lookup_table_is_applied_as_pydicom_applies_it(first, as_words):
    curve = (np.sqrt(np.arange(1000)) * 100).astype(np.uint16)
    data = curve.astype("<u2").tobytes() if as_words else curve.tolist()
    dataset = radiograph(VOILUTSequence=table(first, [0] * 1000))
    item = dataset.VOILUTSequence[0]
    item.add_new("LUTData", "OW" if as_words else "US", data)
    item.LUTDescriptor = [1000, first, 16]
    values = RAMP.astype(np.uint16)
    expected = apply_voi(values, dataset).astype(np.float64) / curve.max()
    assert np.allclose(shown(values, dataset), expected, atol=1e-5)


def test_the_table_of_the_maker_goes_before_the_window_and_behind_the_rescaling():
    dataset = radiograph(
        RescaleSlope=2, RescaleIntercept=10, WindowCenter=5, WindowWidth=2,
        VOILUTSequence=table(10, [0, 0, 50, 50, 100]),
    )  # fmt: skip
    # Stored 0, 1, 2 are 10, 12, 14: outputs 0, 50, 100.
    assert np.allclose(shown(np.array([[0, 1, 2]], dtype=np.uint16), dataset), [[0, 0.5, 1]])


def test_a_modality_table_takes_the_place_of_slope_and_intercept():
    dataset = radiograph(
        RescaleSlope=100, ModalityLUTSequence=table(0, [0, 10, 40]), WindowCenter=20,
        WindowWidth=40, VOILUTFunction="LINEAR_EXACT",
    )  # fmt: skip
    assert np.allclose(shown(np.array([[0, 1, 9]], dtype=np.uint16), dataset), [[0, 0.25, 1]])


def test_a_table_for_signed_pixels_may_state_its_first_input_unsigned():
    dataset = radiograph(PixelRepresentation=1, VOILUTSequence=table(65535, [0, 1, 2]))
    assert lookup_table(dataset, "VOILUTSequence").first == -1


def test_words_of_a_table_are_read_in_the_byte_order_of_the_file():
    item = Dataset()
    item.LUTDescriptor = [2, 0, 16]
    item.add_new("LUTData", "OW", np.array([1, 256], dtype=">u2").tobytes())
    dataset = radiograph(VOILUTSequence=Sequence([item]))
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    assert lookup_table(dataset, "VOILUTSequence").outputs.tolist() == [1, 256]


@pytest.mark.parametrize(
    "damaged", [Sequence([]), Sequence([Dataset()]), table(0, []), table(0, ["a", "b"], vr="LO")]
)
def test_a_damaged_table_counts_as_absent(damaged):
    dataset = radiograph(VOILUTSequence=damaged)
    assert lookup_table(dataset, "VOILUTSequence") is None
    assert shown(RAMP, dataset).max() == 1


@given(st.integers(-70000, 70000), st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_whatever_the_table_the_image_stays_within_the_unit_range(first, outputs):
    item = Dataset()
    item.add_new("LUTDescriptor", "SL", [len(outputs), first, 16])
    item.add_new("LUTData", "US", outputs)
    image = shown(RAMP, radiograph(VOILUTSequence=Sequence([item])))
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


def test_a_monochrome1_radiograph_has_bright_bones_after_its_window():
    dataset = radiograph(
        PhotometricInterpretation="MONOCHROME1", WindowCenter=50.5, WindowWidth=101
    )
    assert np.allclose(
        shown(np.array([[0, 50, 100]], dtype=np.uint16), dataset), [[1, 0.5, 0]], atol=0.01
    )


# Activity, padding


@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_no_activity_is_black_even_where_everything_is_active(modality):
    values = np.linspace(1000, 2000, 4096).reshape(64, 64)
    image = shown(values, radiograph(Modality=modality))
    assert image.min() == pytest.approx(0.5, abs=0.02)
    assert image.max() == 1
    assert shown(values, radiograph(Modality="MR")).min() == 0


def test_padding_is_black_and_does_not_count_among_the_percentiles():
    values = np.array([[63536, 63536, 63536, 10, 20, 30]] * 6, dtype=np.uint16)
    image = shown(values, radiograph(Modality="MR", PixelPaddingValue=63536))
    assert np.allclose(image[0], [0, 0, 0, 0, 0.5, 1], atol=0.01)
    negative = radiograph(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=63536)
    assert np.allclose(shown(values, negative)[0], [0, 0, 0, 1, 0.5, 0], atol=0.01)


def test_a_range_of_padding_of_signed_pixels_may_be_stated_unsigned():
    values = np.array([[-2000, -1990, -1980, 0, 50, 100]] * 6, dtype=np.int16)
    dataset = radiograph(Modality="MR", PixelRepresentation=1)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    dataset.add_new("PixelPaddingRangeLimit", "US", 65536 - 1980)
    assert np.allclose(shown(values, dataset)[0], [0, 0, 0, 0, 0.5, 1], atol=0.01)


def test_an_image_that_is_padding_throughout_is_shown_as_if_none_were_stated():
    values = np.array([[1, 2, 3]] * 3, dtype=np.uint16)
    header = FrameHeader(padding=(0.0, 10.0))
    assert to_display(Frame(values=values), header).max() == 1


ANYTHING = st.floats(allow_nan=False, allow_infinity=False)


@given(
    slope=ANYTHING,
    intercept=ANYTHING,
    centre=ANYTHING,
    width=st.floats(1, 1e308),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID", "?"]),
    padding=st.none() | st.tuples(ANYTHING, ANYTHING),
    flags=st.tuples(*[st.booleans()] * 3),
)
@example(
    slope=1.0,
    intercept=0.0,
    centre=0.0,
    width=1e308,
    function="SIGMOID",
    padding=None,
    flags=(False, False, False),
)
@example(slope=1e308, intercept=-1e308, centre=0.0, width=1.0, function="LINEAR", padding=None,
         flags=(True, True, True))  # fmt: skip
def test_whatever_a_header_says_the_image_is_within_the_unit_range(
    slope, intercept, centre, width, function, padding, flags
):
    hounsfield, nuclear, inverted = flags
    header = FrameHeader(
        rescale_slope=slope, rescale_intercept=intercept, window=(centre, width),
        voi_function=function, padding=padding, hounsfield=hounsfield, nuclear=nuclear,
        inverted=inverted,
    )  # fmt: skip
    for values in (RAMP, RAMP.astype(np.float64) * 1e300, np.full((3, 3), 7, np.uint8)):
        image = to_display(Frame(values=values), header)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1


# Frames in space


def enhanced(positions, orientations=None):
    """A multi-frame object whose frames hold the whole number of their position."""
    groups = []
    for number, position in enumerate(positions):
        plane, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0.0, 0.0, float(position)]
        plane.ImageOrientationPatient = (orientations or {}).get(number, [1, 0, 0, 0, 1, 0])
        group = Dataset()
        group.PlanePositionSequence = Sequence([place])
        group.PlaneOrientationSequence = Sequence([plane])
        groups.append(group)
    ramp = np.arange(16, dtype=np.uint16).reshape(4, 4)
    pixels = np.stack([np.roll(ramp, int(position), axis=None) for position in positions])
    data = dicom_object(
        Rows=4, Columns=4, NumberOfFrames=len(positions), PixelData=pixels.tobytes(),
        Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip
    dataset = dcmread(BytesIO(data))
    del dataset.ImageOrientationPatient, dataset.ImagePositionPatient
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


SMALL = PixelRecipe(rows=4, columns=4)


def test_frames_of_an_enhanced_object_are_chosen_by_position_whatever_their_order():
    inorder = stack_of_object(enhanced([0, 1, 2, 3, 4, 5, 6]), SMALL).slices
    mixed = stack_of_object(enhanced([4, 0, 6, 2, 5, 1, 3]), SMALL).slices
    assert np.array_equal(inorder, mixed)
    assert len({image.tobytes() for image in inorder}) == 3


def test_frames_at_one_position_keep_their_stored_order():
    both = stack_of_object(enhanced([1, 1, 0, 0, 2, 2, 3, 3, 4, 4]), SMALL).slices
    assert np.array_equal(
        both, stack_of_object(enhanced([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), SMALL).slices
    )


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=12))
def test_the_order_of_frames_is_a_permutation_along_the_normal(positions):
    order = frames_along_normal(enhanced(positions), len(positions))
    assert order == tuple(sorted(range(len(positions)), key=lambda frame: positions[frame]))


def test_stored_order_counts_where_the_header_tells_of_other_frames_than_it_says():
    assert frames_along_normal(enhanced([3, 1, 2]), 4) is None
    assert frames_along_normal(dicom_object(), 3) is None
    assert frames_along_normal(b"", 3) is None


def test_frames_of_several_orientations_count_in_their_stored_order():
    coronal = {0: [1, 0, 0, 0, 0, -1]}
    [*_, last] = stack_of_object(enhanced([2, 0, 1], coronal), SMALL).slices
    [*_, expected] = stack_of_object(enhanced([2, 1, 1], coronal), SMALL).slices
    assert np.array_equal(last, expected)
