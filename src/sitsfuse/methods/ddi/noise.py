"""The noise of the guides at HR, texture apart."""

from __future__ import annotations

import numpy as np

from ...core.arrays import BoolArray, F64Array, FloatArray

FEWEST = 200
"""Fewest windows of 2×2 pixels from which a guide's noise is measured."""
OUTLIER = 3.0
"""Size of a difference, in its typical size, at which it is cut: edges."""
RIDGE = 1e-2
"""Ridge of the regression on the other guides."""
NORMAL = 0.6745
"""Median absolute value of a standard normal variable."""
MOST = 40_000
"""Most windows that are used."""


def guide_noise(values: FloatArray, valid: BoolArray) -> F64Array:
    """Standard deviation of what is noise at HR in each guide and band, (T, B).

    The difference of the two diagonals of 2×2 pixels, halved, holds white noise at its full size, and little scene; but
    texture, too, which the guides share. So that of each guide is predicted from those of the others (ridge regression
    on all bands, differences cut at three times their typical size), and the median absolute value of what is left is
    the noise. The noise of the others makes it a little too large.

    Parameters
    ----------
    values, valid
        (T, B, y, x), read only where valid, and (T, y, x).

    Returns
    -------
    F64Array
        A guide in which too little is valid has what the others have, in the middle.
    """
    t, b = values.shape[:2]
    whole = valid[:, :-1, :-1] & valid[:, 1:, :-1] & valid[:, :-1, 1:] & valid[:, 1:, 1:]
    at = np.flatnonzero(whole.any(axis=0))
    at = at[:: max(1, -(-len(at) // MOST))]
    ok = whole.reshape(t, -1)[:, at]
    rough = np.zeros((t, b, len(at)), np.float32)
    for k in range(t):
        v = np.where(valid[k], values[k], np.float32(0))
        d = (v[:, :-1, :-1] - v[:, 1:, :-1] - v[:, :-1, 1:] + v[:, 1:, 1:]) / 2
        rough[k] = np.where(ok[k], d.reshape(b, -1)[:, at], 0)
    out = np.full((t, b), np.nan)
    known = ok.sum(axis=1) >= FEWEST
    size = np.ones((t, b), np.float32)
    for k in np.flatnonzero(known).tolist():
        size[k] = np.median(np.abs(rough[k][:, ok[k]]), axis=1) / NORMAL
    size = np.maximum(size, 1e-9)
    cut = np.clip(rough / size[..., None], -OUTLIER, OUTLIER)
    for k in np.flatnonzero(known).tolist():
        others = np.flatnonzero(known & (np.arange(t) != k))
        mine = rough[k][:, ok[k]] / size[k][:, None]
        if others.size:
            x, y = cut[others].reshape(-1, len(at))[:, ok[k]], cut[k][:, ok[k]]
            n = x.shape[1]
            square = (x @ x.T / n).astype(np.float64)
            weights = np.linalg.solve(square + RIDGE * np.eye(len(square)), x @ y.T / n)
            mine = mine - weights.T.astype(np.float32) @ x
        out[k] = np.median(np.abs(mine), axis=1) / NORMAL * size[k]
    if not known.any():
        return np.zeros((t, b))
    return np.where(np.isnan(out), np.nanmedian(out, axis=0), out)
