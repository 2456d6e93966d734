"""Groups of maps that are alike, by spectral clustering (SpRAy; Lapuschkin et al. 2019, arXiv:1902.10178).

Maps are joined to their nearest neighbours; the eigenvalues of the graph's normalised Laplacian tell how many groups
there are (as many as lie before a wide gap: von Luxburg 2007, doi:10.1007/s11222-007-9033-z), its eigenvectors
which map belongs to which. A network that decides by several things has maps in several groups, one of which may be a
shortcut.

Differs: distances are Hellinger's (of the square roots), so that a few strong cells do not outweigh where the rest
lies; a gap counts relative to the eigenvalue behind it, since maps that shift gradually have eigenvalues that grow
faster and faster, whose widest gap is always among the last; and the last wide gap counts, not the widest, since the
sides of the body otherwise hide what splits each of them. As in the paper, the drawing is t-SNE, here of the
eigenvectors, so that it shows the graph that was cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from models.errors import DataError

LEAST = 10  # maps
MOST_GROUPS = 8
SMALL = 5  # maps in a group, below which it must lie well apart to stay one
APART = 0.25  # separation from which a small group stays one
WIDE = 0.5  # a group too many costs a look, a group too few hides a small one in a large one
_FLOOR = 0.05  # added to the eigenvalue behind a gap, so that the gap between two tiny ones does not count
_DRAWN = 12  # eigenvectors that the drawing is made of
_JOINED = 0.02  # of an edge, between all maps of the drawing: groups without a common edge must share the paper

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Maps in groups.

    Attributes:
        labels: (n,) number of the group, 0 to k - 1, the largest first.
        eigenvalues: (m,) smallest eigenvalues of the normalised Laplacian, ascending, in [0, 2].
        separation: (k,) in [-1, 1], mean silhouette: how much nearer a group's maps are to each other than to those of
            the next group; NaN where there is one group only.
        embedding: (n, e) smooth eigenvectors, each by how smooth it is: what the drawing is made of.
        neighbours: each map is joined to so many others.
    """

    labels: NDArray[np.intp]
    eigenvalues: Array
    separation: Array
    embedding: Array
    neighbours: int

    @property
    def count(self) -> int:
        return len(self.separation)

    @cached_property
    def positions(self) -> Array:
        """(n, 2) for a drawing, at most 1 from the middle along each axis; made when first asked for."""
        return drawing(self.embedding)

    @property
    def eigengap(self) -> float:
        """The widest relative gap behind the second or a later eigenvalue: how clearly there are several groups, [0, 1]."""
        return float(relative_gaps(self.eigenvalues)[1:].max(initial=0.0))


@dataclass(frozen=True)
class ClassRank:
    """How clearly the maps of a class fall into groups."""

    name: str
    n: int
    groups: int
    eigengap: float


def rank_classes(found: Mapping[str, Groups]) -> tuple[ClassRank, ...]:
    """Classes by eigengap, the most clearly grouped first: where to look for several ways of deciding."""
    ranks = [ClassRank(name, len(one.labels), one.count, one.eigengap) for name, one in found.items()]
    return tuple(sorted(ranks, key=lambda rank: (-rank.eigengap, rank.name)))


def grouped(signatures: NDArray[np.floating], seed: int = 0, neighbours: int | None = None) -> Groups:
    """Find the groups.

    Args:
        signatures: (n, d), 0 or more, each with sum 1.
        neighbours: each map is joined to so many; the logarithm of n, at least 5, if not given.

    Raises:
        DataError: fewer than ten maps.
    """
    n = len(signatures)
    if n < LEAST:
        raise DataError(f"Groups of maps need at least {LEAST} cases, too few (n={n}); choose more cases.")
    points = np.sqrt(np.asarray(signatures, dtype=np.float64))
    joined = min(n - 1, neighbours or max(5, round(np.log(n))))
    graph = affinity(points, joined)
    values, vectors = _spectrum(graph, min(n, max(MOST_GROUPS + 1, _DRAWN)))
    labels = _cut(vectors[:, : groups_in(values)], seed)
    labels = _by_size(_without_scraps(points, labels))
    count = int(labels.max()) + 1
    if count == 1:
        separation = np.full(1, np.nan)
    else:
        apart = silhouette_samples(points, labels)
        separation = np.bincount(labels, apart) / np.bincount(labels)
    return Groups(labels, values, separation, embedding(graph), joined)


def affinity(points: Array, neighbours: int) -> Array:
    """(n, n) 1 where one of two is among the nearest of the other, else 0; 0 on the diagonal."""
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors_graph().toarray()
    return np.asarray(np.maximum(nearest, nearest.T), dtype=np.float64)


def groups_in(eigenvalues: Array) -> int:
    """As many groups as eigenvalues before the last relative gap that is at least ``WIDE`` of the widest."""
    gaps = relative_gaps(eigenvalues)
    return int(np.flatnonzero(gaps >= WIDE * gaps.max())[-1]) + 1


def relative_gaps(eigenvalues: Array) -> Array:
    """Of each eigenvalue to the next, as a share of the next; at most ``MOST_GROUPS``."""
    first = eigenvalues[: MOST_GROUPS + 1]
    return np.asarray(np.diff(first) / (first[1:] + _FLOOR))


def embedding(graph: Array) -> Array:
    """(n, e) smooth eigenvectors, each by how smooth it is; groups without a common edge are joined weakly."""
    spread = graph + _JOINED * (graph.sum() / graph.size)
    np.fill_diagonal(spread, 0.0)
    values, vectors = _spectrum(spread, min(len(graph), _DRAWN))
    return np.asarray(vectors[:, 1:] / np.sqrt(spread.sum(1))[:, None] * np.maximum(1 - values[1:], 0))


def drawing(places: Array) -> Array:
    """(n, 2) positions in [-1, 1] that keep near what is near (t-SNE; van der Maaten and Hinton 2008)."""
    scaled = places / max(places.std(), 1e-12)
    found = TSNE(perplexity=min(30.0, (len(places) - 1) / 3), init="pca", random_state=0).fit_transform(scaled)
    found = found - (found.max(axis=0) + found.min(axis=0)) / 2
    return np.asarray(found / max(np.abs(found).max(), 1e-12), dtype=np.float64)


def _spectrum(graph: Array, count: int) -> tuple[Array, Array]:
    """The smallest eigenvalues of the symmetric normalised Laplacian and their (n, count) vectors."""
    root = 1 / np.sqrt(graph.sum(axis=1))
    laplacian = np.eye(len(graph)) - root[:, None] * graph * root
    values, vectors = eigh(laplacian, subset_by_index=(0, count - 1))
    return np.maximum(values, 0), vectors


def _cut(vectors: Array, seed: int) -> NDArray[np.intp]:
    """Groups of rows that point the same way (Ng, Jordan and Weiss 2002)."""
    if vectors.shape[1] == 1:
        return np.zeros(len(vectors), dtype=np.intp)
    rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = KMeans(vectors.shape[1], n_init=10, random_state=seed).fit_predict(rows)
    return np.asarray(found, dtype=np.intp)


def _without_scraps(points: Array, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """A small group that does not lie apart joins the nearest other one."""
    labels = labels.copy()
    while len(known := np.unique(labels)) > 1:
        apart = silhouette_samples(points, labels)
        scraps = [k for k in known if (labels == k).sum() < SMALL and apart[labels == k].mean() < APART]
        if not scraps:
            break
        scrap = min(scraps, key=lambda k: float(apart[labels == k].mean()))
        others = [k for k in known if k != scrap]
        centres = np.stack([points[labels == k].mean(axis=0) for k in others])
        distance = np.linalg.norm(points[labels == scrap][:, None] - centres, axis=2)
        labels[labels == scrap] = np.array(others)[distance.argmin(axis=1)]
    return labels


def _by_size(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers from 0 on, the largest group first; of equal ones that with the first map."""
    known, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    order = known[np.lexsort((first, -sizes))]
    number = {int(k): place for place, k in enumerate(order)}
    return np.array([number[int(k)] for k in labels], dtype=np.intp)
