"""What a map is carried on from: what is usual on it, and the landmarks that hold it in place.

It lies beside the map's encoder (`indexer_core.projector`) and holds image vectors of up to two
thousand series with their keys, so a purge writes it anew.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexer_core.array_file import ArrayFile, arrays_to_bytes, parse_arrays
from indexer_core.errors import CorruptIndexError, InvalidInputError

KIND = "map-state"
FORMAT_VERSION = 1

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReference:
    """What is usual, as calibrated when the map was fitted.

    Parameters
    ----------
    k
        Neighbours that are looked at.
    tau
        A point further away is out of distribution: from its k-th neighbour, and in the state of a
        map from its third landmark (`indexer_core.placing.FAR_RANK`).
    preservation
        Mean share of the k neighbours that are also the nearest on the map.
    """

    k: int
    tau: float
    preservation: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landmarks:
    """Series that hold a map in place, spread evenly over it.

    Parameters
    ----------
    keys
        Series keys.
    vectors : ndarray of float32, shape (n, dimension)
    points : ndarray of float32, shape (n, 2)
        Where they are on this map.
    anchors : ndarray of float32, shape (n, 2)
        Where they shall stay: their places on the last major map, or on the map they came with.
    """

    keys: tuple[str, ...]
    vectors: Floats
    points: Floats
    anchors: Floats

    def __len__(self) -> int:
        """How many there are."""
        return len(self.keys)

    def without(self, keys: AbstractSet[str]) -> "Landmarks":
        """Those that are not of these series."""
        kept = np.array([key not in keys for key in self.keys], dtype=np.bool_)
        return Landmarks(
            keys=tuple(key for key in self.keys if key not in keys),
            vectors=self.vectors[kept],
            points=self.points[kept],
            anchors=self.anchors[kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapState:
    """A fitted map, but for its encoder.

    Parameters
    ----------
    version
        Of the map that it belongs to.
    n_frozen
        So many of the encoder's first layers are never trained.
    seed, n_neighbours
        That it was made with.
    reference
        What is usual among its landmarks.
    watermark
        Number of the manifest whose points it was made from.
    n_points
        How many those were.
    box
        Of its points: least and greatest x, then y.
    metrics
        What was measured of it: trust, drift against its parent and its major map, cost.
    known_until
        Rows with a write id up to this one were on it by its encoder when it was made, as far as
        write ids tell; all others were placed as new ones are. "": that is not known.
    """

    version: str
    n_frozen: int
    seed: int
    n_neighbours: int
    reference: DriftReference
    landmarks: Landmarks
    watermark: int
    n_points: int
    box: tuple[float, float, float, float]
    metrics: Mapping[str, float] = field(default_factory=dict)
    known_until: str = ""

    def without(self, keys: AbstractSet[str]) -> "MapState":
        """The same, with nothing of these series."""
        return replace(self, landmarks=self.landmarks.without(keys))

    def to_bytes(self) -> bytes:
        """Serialise; the same state gives the same bytes.

        Raises
        ------
        InvalidInputError
            When a number in it is not finite: such a map is not to be kept.
        """
        landmarks, reference = self.landmarks, self.reference
        arrays = {
            "vectors": landmarks.vectors,
            "points": landmarks.points,
            "anchors": landmarks.anchors,
        }
        numbers = [reference.tau, reference.preservation, *self.box, *self.metrics.values()]
        if not all(np.isfinite(v).all() for v in (*arrays.values(), np.array(numbers))):
            raise InvalidInputError("a map with numbers that are not finite is not kept")
        fields = {
            "version": self.version,
            "n_frozen": self.n_frozen,
            "seed": self.seed,
            "n_neighbours": self.n_neighbours,
            "k": reference.k,
            "tau": reference.tau,
            "preservation": reference.preservation,
            "keys": list(landmarks.keys),
            "watermark": self.watermark,
            "n_points": self.n_points,
            "box": list(self.box),
            "metrics": dict(self.metrics),
            "known_until": self.known_until,
        }
        return arrays_to_bytes(KIND, FORMAT_VERSION, ArrayFile(fields=fields, arrays=arrays))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        CorruptIndexError
            When the bytes are not an intact state.
        InvalidInputError
            When its format is newer than this program.
        """
        content = parse_arrays(data, KIND, FORMAT_VERSION)
        fields, arrays = content.fields, content.arrays
        try:
            landmarks = Landmarks(
                keys=tuple(fields["keys"]),
                vectors=arrays["vectors"],
                points=arrays["points"],
                anchors=arrays["anchors"],
            )
            least_x, greatest_x, least_y, greatest_y = fields["box"]
            state = cls(
                version=fields["version"],
                n_frozen=fields["n_frozen"],
                seed=fields["seed"],
                n_neighbours=fields["n_neighbours"],
                reference=DriftReference(
                    k=fields["k"], tau=fields["tau"], preservation=fields["preservation"]
                ),
                landmarks=landmarks,
                watermark=fields["watermark"],
                n_points=fields["n_points"],
                box=(least_x, greatest_x, least_y, greatest_y),
                metrics=fields["metrics"],
                known_until=fields.get("known_until", ""),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptIndexError("state of a map with an impossible content") from error
        n = len(landmarks)
        if any(len(array) != n for array in arrays.values()):
            raise CorruptIndexError("state of a map whose landmarks have no place")
        return state
