"""Least squares with bounds, many small ones at a time."""

from __future__ import annotations

import numpy as np

from ..core.arrays import F64Array

BISECTIONS = 60
"""Halvings of the interval in which the multiplier of the bound lies."""
PATIENCE, ROUNDS = 3, 20
"""Rounds without progress after which pivots are swapped one by one, and the most rounds per weight."""
ROUNDING = 1e-12
"""Relative size below which a weight or a gradient is rounding."""


def solve(square: F64Array, product: F64Array, prior: F64Array, most: float) -> F64Array:
    """Minimise ``a·S a / 2 - a·(p + S w)`` with ``a >= 0`` and ``sum a <= most``, for many small problems at once.

    That is least squares around the prior w, with S the sums of squares and p those of the regressors and what the
    prior leaves.

    Parameters
    ----------
    square, product
        (problem, time, time), positive definite, and (problem, time).
    prior
        (time,) ≥ 0, with a sum below ``most``.
    most
        Largest sum of the weights.

    Returns
    -------
    weights
        (problem, time).
    """
    found = non_negative(square, product, prior)
    over_it = np.flatnonzero(found.sum(axis=1) > most)
    if over_it.size:
        found[over_it] = bounded(square[over_it], product[over_it], prior, most)
    return found


def bounded(square: F64Array, product: F64Array, prior: F64Array, most: float) -> F64Array:
    """`solve` where the bound on the sum is reached: its multiplier μ, which lowers every product, by bisection."""
    low, high = np.zeros(len(product)), np.abs(product + square @ prior).max(axis=1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = non_negative(square, product - middle[:, None], prior).sum(axis=1) > most
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return non_negative(square, product - high[:, None], prior)


def non_negative(square: F64Array, product: F64Array, prior: F64Array) -> F64Array:
    """`solve` without a bound on the sum, by block principal pivoting.

    Each round solves for the weights that are not held at 0 and swaps all that break a condition: negative weights and
    held ones with a gradient that would raise them. Where their number does not fall for some rounds, only the last of
    them is swapped, which cannot go on for ever (Kim and Park, SIAM Journal on Scientific Computing 33, 2011).
    """
    n = product.shape[1]
    scale = np.sqrt(square[:, range(n), range(n)])
    free = np.ones(product.shape, bool)
    found = np.empty(product.shape)
    fewest, patience = np.full(len(product), n + 1), np.full(len(product), PATIENCE)
    left = np.arange(len(product))
    for _ in range(ROUNDS * n):
        s, f = square[left], free[left]
        # The change from the prior is sought: that is small, and nothing is lost in rounding.
        held = np.where(f, 0, -prior)
        both = f[:, :, None] & f[:, None, :]
        matrix = np.where(both, s, 0)
        matrix[:, range(n), range(n)] += ~f
        known = product[left] - np.einsum("pij,pj->pi", s, held)
        change = np.where(f, np.linalg.solve(matrix, np.where(f, known, 0)[..., None])[..., 0], held)
        weights = np.where(f, prior + change, 0)
        gradient = product[left] - np.einsum("pij,pj->pi", s, change)
        slack = ROUNDING * scale[left]
        wrong = np.where(f, weights < -ROUNDING, gradient > slack * scale[left].max(axis=1, keepdims=True))
        found[left] = np.maximum(weights, 0)
        number = wrong.sum(axis=1)
        better = number < fewest[left]
        fewest[left] = np.where(better, number, fewest[left])
        patience[left] = np.where(better, PATIENCE, patience[left] - 1)
        last = np.arange(n) == (n - 1 - np.argmax(wrong[:, ::-1], axis=1))[:, None]
        free[left] = f ^ (wrong & ((patience[left] >= 0)[:, None] | last))
        left = left[number > 0]
        if not left.size:
            break
    return found
