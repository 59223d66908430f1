"""Vector files: the contract on the flat fp16 file, and its header against crafted damage."""

import zlib

import numpy as np
import pytest

from indexer_core.adapters import faiss_vectors
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import CorruptIndexError
from indexer_core.testing.contracts.vectors import VectorFilesContract


class TestFlatFp16Vectors(VectorFilesContract):
    @staticmethod
    def files():
        return FlatFp16Vectors()

    def test_kind_names_the_format(self):
        assert self.files().kind == "flat-fp16"

    @pytest.mark.parametrize(
        "changes",
        [
            {"n_vectors": 2},
            {"n_vectors": 2**62},
            {"dimension": 3},
            {"dimension": 0},
            {"dimension": 2**31},
            {"version": 2},
            {"size_bytes": 2**63},
        ],
    )
    def test_header_that_lies_under_a_right_checksum_is_refused(self, changes):
        stored = self.files().build(np.ones((3, 4), np.float32))
        with pytest.raises(CorruptIndexError):
            self.files().open(_with_header(_payload(stored), **changes))

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            (0, b"IxFI"),
            (0, b"none"),
            (4, b"\xff\xff\xff\x7f"),
            (4, b"\x05\x00\x00\x00"),
            (8, b"\xff" * 7 + b"\x7f"),
            (8, b"\x02" + b"\x00" * 7),
            (32, b"\x00"),
            (33, b"\x01"),
            (37, b"\x00"),
            (-32, b"\xff" * 6),
        ],
    )
    def test_payload_that_lies_under_a_right_checksum_is_refused(self, place, value):
        payload = bytearray(_payload(self.files().build(np.ones((3, 4), np.float32))))
        place %= len(payload)
        payload[place : place + len(value)] = value
        with pytest.raises(CorruptIndexError):
            self.files().open(_with_header(bytes(payload)))

    def test_garbage_under_a_right_checksum_is_refused(self):
        random = np.random.default_rng(0)
        for size_bytes in (24, 25, 60, 105, 2000):
            with pytest.raises(CorruptIndexError):
                self.files().open(_with_header(random.bytes(size_bytes)))

    def test_half_precision_keeps_normalised_vectors_to_three_digits(self):
        vectors = np.random.default_rng(3).standard_normal((200, 64)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        restored = self.files().open(self.files().build(vectors)).reconstruct()
        assert np.abs(restored - vectors).max() < 2**-11

    def test_many_equal_vectors_beyond_the_heap_are_ranked_by_row_number(self):
        vectors = np.ones((5000, 8), np.float32)
        vectors[4000] *= 2
        reader = self.files().open(self.files().build(vectors))
        rows = np.ones(5000, np.bool_)
        rows[::2] = False
        rows[4000] = True
        _, found = reader.search(vectors[:2], 120, reader.select(rows))
        assert found.tolist() == [[4000, *range(1, 239, 2)]] * 2


def _payload(stored: bytes) -> bytes:
    return stored[faiss_vectors._HEADER.size + faiss_vectors._HEADER_CRC.size :]


def _with_header(payload: bytes, **changes: int) -> bytes:
    fields = {
        "version": faiss_vectors.FORMAT_VERSION,
        "dimension": 4,
        "n_vectors": 3,
        "size_bytes": len(payload),
    } | changes
    header = faiss_vectors._HEADER.pack(faiss_vectors._MAGIC, *fields.values(), zlib.crc32(payload))
    return header + faiss_vectors._HEADER_CRC.pack(zlib.crc32(header)) + payload
