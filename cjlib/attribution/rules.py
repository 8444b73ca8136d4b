"""Credit by rule: how each simple attribution model shares one purchase among its touches.

All six rules give every touch of a path a weight; the weights of a path add up to 1. They look at
the paths that ended in a purchase alone, unlike the removal effect, which also learns from those
that ended in nothing.
"""

import numpy as np

from cjlib.attribution.touch_paths import TouchPaths

RULES = ("first", "last", "linear", "time_decay", "position", "shapley")


def touch_weights(
    paths: TouchPaths, rule: str, *, half_life: float = 2.0, ends: float = 0.4
) -> np.ndarray:
    """Return the share of its path's purchases that each touch is credited with.

    Parameters
    ----------
    paths : TouchPaths
    rule : {"first", "last", "linear", "time_decay", "position", "shapley"}
        ``time_decay`` halves the credit with every ``half_life`` touches before the purchase (paths
        carry the order of the touches, not their days). ``position`` gives ``ends`` to the first
        and the last touch each and the rest in equal parts to those between; two touches share
        equally. ``shapley`` is the Shapley value of the game in which a set of levels is worth the
        purchases of the paths that need no other level.
    half_life : float
        Touches, of ``time_decay``.
    ends : float
        Share between 0 and 0.5, of ``position``.

    Returns
    -------
    ndarray, shape (T,)
        Adds up to 1 within each path that has a touch.

    Notes
    -----
    The game behind ``shapley`` is a sum of unanimity games, one per path, so its value is known in
    closed form at any number of levels: each path's purchases in equal parts to its distinct levels
    (L. S. Shapley, A value for n-person games, 1953; K. Zhao et al., Shapley value methods for
    attribution modeling in online advertising, arXiv 1804.05327). Nothing is sampled.
    """
    row, place = paths.row, paths.place
    length = paths.lengths[row]
    back = length - 1 - place
    if rule == "first":
        return (place == 0).astype(float)
    if rule == "last":
        return (back == 0).astype(float)
    if rule == "linear":
        return 1 / length
    if rule == "time_decay":
        return _within_path(paths, 0.5 ** (back / half_life))
    if rule == "position":
        outer = (place == 0) | (back == 0)
        between = (1 - 2 * ends) / np.maximum(length - 2, 1)
        return np.where(length <= 2, 1 / length, np.where(outer, ends, between))
    if rule == "shapley":
        # the first touch of each level stands for it; further touches of the level add nothing
        _, first = np.unique(row * (len(paths.levels) + 1) + paths.codes, return_index=True)
        new = np.zeros(len(row))
        new[first] = 1.0
        return _within_path(paths, new)
    raise ValueError(f"{rule!r} is none of {', '.join(RULES)}")


def _within_path(paths: TouchPaths, weights: np.ndarray) -> np.ndarray:
    """Scale weights so that they add up to 1 in each path."""
    total = np.bincount(paths.row, weights, minlength=len(paths.lengths))
    return weights / total[paths.row]
