"""How near one set of points lies to another: the figures that judge what a model makes, on any embedding. Pure numpy.

Points are `[n, D]`. Every figure depends on how many points there are, so one is only comparable with another over as many:
what is made is held against the floor (real against real) and the ceiling (noise against real) of the same counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEIGHBOURS = 3
"""k of precision and recall (Kynkaanniemi et al. 2019, section 3.1)."""
WIDER_NEIGHBOURS = 5
"""k of density and coverage (Naeem et al. 2020, section 4.2)."""


def frechet(real: np.ndarray, made: np.ndarray) -> float:
    """The squared Frechet distance of two normal distributions with the means and covariances of the points.

    `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2)` (Dowson and Landau 1982; on embeddings: Heusel et al. 2017). With the centred
    points A and B over the roots of their degrees of freedom, S1 = A'A and S2 = B'B, the last trace is the sum of the
    singular values of AB': exact, and safe where there are fewer points than dimensions and the covariances have no root.

    >>> line = np.array([[-1.0], [1.0]])
    >>> frechet(line, line + 3), round(frechet(line, 2 * line), 6)  # moved by 3; std of sqrt(2) against 2 sqrt(2)
    (9.0, 2.0)
    """
    first, second = _centred(real), _centred(made)
    moved = float(np.sum((real.mean(0, dtype=np.float64) - made.mean(0, dtype=np.float64)) ** 2))
    shared = float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    return max(0.0, moved + float(np.sum(first**2) + np.sum(second**2)) - 2 * shared)


def _centred(points: np.ndarray) -> np.ndarray:
    wide = points.astype(np.float64)
    centred: np.ndarray = (wide - wide.mean(0)) / np.sqrt(max(1, len(points) - 1))
    return centred


def precision_recall(real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019): how real what is made is, and how much of the real is made.

    A point lies in a set where it is at most as far from one of its points as that point is from its own k-th neighbour.
    Precision is the share of made points in the real set, recall the share of real points in the made set.

    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> precision_recall(square, square + 0.1), precision_recall(square, np.full((4, 2), 0.5))
    ((1.0, 1.0), (1.0, 0.0))
    """
    between = distances(real, made)
    precision = (between <= _reach(real, k)[:, None]).any(0).mean()
    recall = (between <= _reach(made, k)[None, :]).any(1).mean()
    return float(precision), float(recall)


def density_coverage(real: np.ndarray, made: np.ndarray, k: int = WIDER_NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, equations 4 and 5), which single odd points disturb less.

    Density is how many of the real points' neighbourhoods a made point lies in, over k: 1 for the same distribution, more
    where what is made crowds where the real is dense. Coverage is the share of real points with a made one in their
    neighbourhood.

    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> density_coverage(square, square + 50.0)
    (0.0, 0.0)
    """
    k = _possible(k, real)
    inside = distances(real, made) <= _reach(real, k)[:, None]
    return float(inside.sum(0).mean() / k), float(inside.any(1).mean())


def diversity(points: np.ndarray, clips: Sequence[str] = ()) -> float:
    """The mean distance of two points, of different clips where `clips` names that of each; nan where there are no two.

    >>> diversity(np.array([[0.0], [3.0], [3.0]])), diversity(np.array([[0.0], [3.0], [3.0]]), ["a", "b", "b"])
    (2.0, 3.0)
    """
    names = np.array(clips or range(len(points)))
    apart = names[:, None] != names[None, :]
    return float(distances(points, points)[apart].mean()) if apart.any() else float("nan")


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances `[n, m]` between the points of two sets."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    between: np.ndarray = np.linalg.norm(one[:, None] - other[None, :], axis=2)
    return between


def different(between: np.ndarray, reach: float) -> int:
    """How many groups there are among n things with the distances `[n, n]`: what is nearer than `reach` is the same thing.

    >>> different(distances(*[np.array([[0.0], [0.1], [0.2], [5.0]])] * 2), reach=0.15)
    2
    """
    left, groups = set(range(len(between))), 0
    while left:
        groups += 1
        edge = [left.pop()]
        while edge:
            near = {other for other in left if between[edge[-1], other] < reach}
            edge.pop()
            left -= near
            edge.extend(near)
    return groups


def _possible(k: int, points: np.ndarray) -> int:
    """The k-th neighbour, or the farthest where there are not so many."""
    if len(points) < 2:
        raise ValueError("a set of fewer than two points has no neighbours")
    return min(k, len(points) - 1)


def _reach(points: np.ndarray, k: int) -> np.ndarray:
    """The distance of each point to its k-th neighbour."""
    within = distances(points, points)
    nearest: np.ndarray = np.sort(within, axis=1)[:, _possible(k, points)]  # column 0 is the point itself
    return nearest
