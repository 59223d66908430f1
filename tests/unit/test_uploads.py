"""Uploads: the same vector as the index has of the same pixels; too much is refused beforehand."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from function_app.similar import UploadRequest, similar_to_upload
from indexer_core.adapters.decoding import pictures
from indexer_core.descriptor import ImageDescriptor
from indexer_core.errors import EncoderUnavailableError, InvalidInputError
from indexer_core.pixels.recipe import PixelLimits
from indexer_core.pixels.resizing import resize
from indexer_core.pixels.stack import slices_from_bytes
from indexer_core.rules import load_rules
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.uploads import MAX_UPLOAD_BYTES, UploadReader
from tests.support.dicom import dicom_object
from tests.support.pipeline import Pipeline

ENCODER = ImageDescriptor()


class Here:
    """`indexer_core.uploads.Decoding` in this process."""

    def __call__(self, *arguments):
        return slices_from_bytes(*arguments)

    def picture(self, *arguments):
        return pictures.slice_of_picture(*arguments)


@pytest.fixture(scope="module")
def reader():
    return UploadReader(
        decoding=Here(), find_encoder={ENCODER.encoder_id: ENCODER}.get, rules=load_rules()
    )


@pytest.fixture
def files():
    """Series of one object each, that look different."""
    rng = np.random.default_rng(5)
    return {
        name: dicom_object(
            series=name,
            PixelData=rng.integers(0, 2000, (16, 16), dtype=np.uint16).tobytes(),
            **({"RescaleSlope": 1, "RescaleIntercept": -1000, "SeriesDescription": "chest lung"}
               if name == "lung" else {}),
        )
        for name in ("one", "two", "lung")
    }  # fmt: skip


@pytest.fixture
def snapshot(files):
    house = Pipeline()
    for name, data in files.items():
        house.upload(f"{name}.dcm", data)
    house.settle(house.process())
    return house.reader().snapshot


@pytest.mark.parametrize("name", ["one", "two", "lung"])
def test_an_upload_of_what_is_indexed_is_found_first_and_is_the_same(snapshot, reader, files, name):
    answer = similar_to_upload(UploadRequest(data=files[name]), SnapshotIndex(snapshot), reader)
    first, second, _ = answer["value"]
    assert first["score"] == pytest.approx(1.0, abs=1e-3)
    assert second["score"] < 0.99
    assert first["seriesInstanceUid"].encode() in files[name]
    assert answer["imageEncoder"] == ENCODER.encoder_id
    assert answer["like"] == []


def test_a_header_decides_the_window_as_it_does_in_the_index(reader, files):
    lung = reader.vector(files["lung"], ENCODER.encoder_id)
    plain = reader.vector(files["lung"].replace(b"chest lung", b"abdomen   "), ENCODER.encoder_id)
    assert float(lung @ plain) < 0.999


def png(values, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


def picture_vector(reader, data):
    return reader.vector(data, ENCODER.encoder_id)


def test_a_picture_is_seen_as_it_is_shown(reader):
    rng = np.random.default_rng(1)
    grey = np.kron(rng.integers(0, 256, (8, 8), dtype=np.uint8), np.ones((16, 16), np.uint8))
    shown = resize((grey / 255).astype(np.float32), (256, 256))
    expected = ENCODER.encode([shown[None]])[0]
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    alpha = np.dstack([rgb, np.full(grey.shape, 255, np.uint8)])
    deep = grey.astype(np.uint16) * 257
    for data in (png(grey), png(rgb), png(alpha), png(deep), png(grey, optimize=True)):
        assert float(picture_vector(reader, data) @ expected) > 0.9999
    jpeg = png(grey, format="JPEG", quality=95)
    assert float(picture_vector(reader, jpeg) @ expected) > 0.99


def test_a_palette_and_a_transparent_picture_are_seen(reader):
    grey = np.zeros((32, 32), np.uint8)
    grey[8:24, 8:24] = 255
    buffer = io.BytesIO()
    Image.fromarray(grey).convert("P").save(buffer, "PNG", transparency=0)
    palette = picture_vector(reader, buffer.getvalue())
    assert float(palette @ picture_vector(reader, png(grey))) > 0.9999
    white = np.dstack([np.full((32, 32, 3), 255, np.uint8), grey])
    assert float(picture_vector(reader, png(white)) @ picture_vector(reader, png(grey))) > 0.9999


def huge_png(side: int) -> bytes:
    """A few hundred bytes that announce a picture of `side` times `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8_000, 20_000, 100_000])
def test_a_picture_of_too_many_pixels_is_refused_before_they_are_made(reader, side, monkeypatch):
    def never(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(pictures, "_grey", never)
    with pytest.raises(InvalidInputError, match="too much memory"):
        picture_vector(reader, huge_png(side))


def test_a_text_in_a_picture_that_inflates_to_gigabytes_is_refused(reader):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * (200 << 20), zip=True)
    data = png(np.zeros((8, 8), np.uint8), pnginfo=info)
    assert len(data) < MAX_UPLOAD_BYTES
    with pytest.raises(InvalidInputError, match="cannot be decoded"):
        picture_vector(reader, data)


def test_an_object_that_announces_too_much_is_refused(reader):
    data = dicom_object(Rows=60_000, Columns=60_000)
    with pytest.raises(InvalidInputError, match="too much memory"):
        picture_vector(reader, data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"GIF89a" + bytes(100), "neither a DICOM object nor a PNG or JPEG"),
        (b"PK\x03\x04" + bytes(200), "neither a DICOM object"),
        (dicom_object(pixels=False), "has no pixels"),
        (dicom_object()[:-100], "cut off"),
        (png(np.zeros((8, 8), np.uint8))[:40], "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
        (b"\xff\xd8\xff" + bytes(50), "cannot be decoded"),
    ],
)
def test_what_cannot_be_seen_is_refused_in_one_line(reader, data, said):
    with pytest.raises(InvalidInputError, match=said) as caught:
        picture_vector(reader, data)
    assert "planted" not in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]))
def test_any_bytes_are_seen_or_refused(reader, data, start):
    try:
        vector = picture_vector(reader, start + data)
    except InvalidInputError:
        return
    assert vector.shape == (ENCODER.dimension,)


def test_too_large_an_upload_is_refused_before_it_is_looked_at(reader, monkeypatch):
    monkeypatch.setattr("indexer_core.uploads.MAX_UPLOAD_BYTES", 10)
    with pytest.raises(InvalidInputError, match="more than"):
        picture_vector(reader, bytes(11))
    monkeypatch.setattr("function_app.similar.MAX_UPLOAD_BYTES", 10)
    with pytest.raises(InvalidInputError, match="more than"):
        UploadRequest(data=bytes(11)).check()


def test_an_encoder_that_is_not_here_is_told(reader):
    with pytest.raises(EncoderUnavailableError):
        reader.vector(dicom_object(), "medimageinsight/endpoint")


def test_an_upload_is_never_shown():
    assert "planted" not in repr(UploadRequest(data=dicom_object())).lower()


def test_pictures_are_decoded_in_children_as_they_are_here():
    from indexer_core.adapters.decoding import DecodingChildren

    data = png(np.arange(256, dtype=np.uint8).reshape(16, 16))
    limits = PixelLimits()
    with DecodingChildren() as children:
        found = children.picture(data, ENCODER.recipe, limits)
        np.testing.assert_array_equal(
            found, pictures.slice_of_picture(data, ENCODER.recipe, limits)
        )
        assert children.picture(b"", ENCODER.recipe, limits).problem.value == "undecodable"
