"""Made-up image vectors: clusters within clusters, each a curved surface, on the unit sphere.

Ten groups of four clusters. A cluster is a smooth image of eight numbers in 1024 dimensions, as the
slices of one body part by one kind of machine vary in a few ways only. Clusters can be left out and
brought in later, which is what a new scanner or a new body part does to an archive.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_GROUPS = 10
N_PER_GROUP = 4
N_CLUSTERS = N_GROUPS * N_PER_GROUP
DIMENSION = 1024
_N_WAYS = 8
_N_HIDDEN = 32
_GROUP_SPREAD, _CLUSTER_SPREAD, _SURFACE, _NOISE = 0.4, 0.4, 1.0, 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpVectors:
    """An archive of 40 kinds of series.

    Parameters
    ----------
    seed
        Of the clusters. Points are drawn with seeds of their own, so that more can be drawn later.
    """

    seed: int = 0
    dimension: int = DIMENSION

    def draw(
        self, n: int, *, seed: int, clusters: Iterable[int] = range(N_CLUSTERS)
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Points spread evenly over some clusters, in random order.

        Returns
        -------
        vectors : ndarray of float32, shape (n, dimension), rows L2-normalised
        labels : ndarray of int64, shape (n,)
            The cluster of each.
        """
        random = np.random.default_rng((self.seed, seed))
        labels = random.permutation(np.resize(np.array(list(clusters)), n))
        vectors = np.empty((n, self.dimension), dtype=np.float32)
        for cluster in np.unique(labels):
            rows = labels == cluster
            vectors[rows] = self._surface(int(cluster), int(rows.sum()), random)
        return vectors, labels

    def _surface(self, cluster: int, n: int, random: np.random.Generator) -> NDArray[np.float32]:
        fixed = np.random.default_rng((self.seed, 1_000_003, cluster))
        group = np.random.default_rng((self.seed, 2_000_003, cluster // N_PER_GROUP))
        scale = 1 / np.sqrt(self.dimension)
        centre = group.normal(size=self.dimension) * scale * _GROUP_SPREAD
        centre = centre + fixed.normal(size=self.dimension) * scale * _CLUSTER_SPREAD
        bend = fixed.normal(size=(_N_WAYS, _N_HIDDEN)) / np.sqrt(_N_WAYS)
        shift = fixed.normal(size=_N_HIDDEN)
        out = fixed.normal(size=(_N_HIDDEN, self.dimension)) * scale / np.sqrt(_N_HIDDEN)
        hidden = np.tanh(random.normal(size=(n, _N_WAYS)) @ bend + shift)
        noise = random.normal(size=(n, self.dimension)) * _NOISE
        points = centre + _SURFACE * hidden @ out * np.sqrt(2) + noise
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
