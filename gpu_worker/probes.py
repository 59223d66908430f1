"""Whether an endpoint still has the model that made what is stored: nothing in its answers tells.

Its vectors of a text and a picture, the probes, are kept beside the index under
``pixel-models/<hash of the encoder id>``, written once and never replaced.
"""

import numpy as np
from numpy.typing import NDArray

from indexer_core.array_file import ArrayFile, arrays_to_bytes, parse_arrays
from indexer_core.encoders import folder_of
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import BlobStore, Written

PREFIX = "pixel-models/"
KIND = "probes"
FORMAT_VERSION = 1

# Vectors of one model agree far better than this on any device, those of two hardly at all.
_SAME = 0.99


def make_sure(probes: NDArray[np.float32], encoder_id: str, blobs: BlobStore) -> None:
    """Compare vectors of the probes with those that were kept; keep them where there are none.

    Parameters
    ----------
    probes : ndarray of float32, shape (n, dimension), rows L2-normalised

    Raises
    ------
    InvalidInputError
        They are another model's.
    CorruptIndexError
        What was kept is damaged.
    """
    name = PREFIX + folder_of(encoder_id)
    content = ArrayFile(fields={"encoder_id": encoder_id}, arrays={"probes": probes})
    data = arrays_to_bytes(KIND, FORMAT_VERSION, content)
    if isinstance(blobs.put_if_absent(name, data), Written):
        return
    found = blobs.get(name)
    if found is None or found.data == data:
        return
    known = parse_arrays(found.data, KIND, FORMAT_VERSION).arrays.get("probes")
    if known is None or known.shape != probes.shape:
        raise CorruptIndexError(f"{name} does not hold the probes of a pixel model")
    if float(np.sum(known * probes, axis=1).min()) < _SAME:
        raise InvalidInputError(
            "the endpoint has another model than the one whose vectors are stored: give it a "
            "PIXEL_MODEL_VERSION of its own, so that the two never meet"
        )
