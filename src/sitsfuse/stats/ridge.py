"""The linear cousin of DDI's networks: an LR image from all guides by ridge regression, the same weights everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.arrays import BoolArray, F64Array, FloatArray

RIDGE = 1e-2
"""Penalty on the weights, as a share of the regressors' mean sum of squares."""
LARGEST_LEVERAGE = 0.9
"""Bound on the share of a pixel in its own prediction."""


@dataclass(frozen=True)
class Linear:
    """``P_b = level_b + sum_t v_t (offset_tb + sum_i weight_tib F_ti)`` over the valid guides (v = 1)."""

    weights: FloatArray
    """(T, B, B) of a guide's band (second) in a predicted one (third)."""
    offsets: FloatArray
    """(T, B) added where a guide is valid."""
    level: FloatArray
    """(B,)."""
    fitted: F64Array
    """(B, N) the prediction of the pixels that it was fitted to."""
    held_out: F64Array
    """(B, N) what it would predict of each of them had it not been fitted to it."""

    @classmethod
    def fit(cls, guides: FloatArray, valid: BoolArray, target: npt.NDArray[np.floating]) -> Linear:
        """Fit to N pixels.

        Guides are standardised per band and 0 where invalid; with their validity, each centred, they are the
        regressors. The mean of the target is not penalised.

        Parameters
        ----------
        guides, valid
            (T, B, N) and (T, N); every band has a valid pixel.
        target
            (B, N).
        """
        t, b, n = guides.shape
        x = np.empty((n, t * b + t))
        centres, scales = np.empty(b), np.empty(b)
        for band in range(b):
            known = guides[:, band][valid]
            centre, scale = known.mean(), max(float(known.std()), 1e-6)
            x[:, band : t * b : b] = (np.where(valid, guides[:, band] - centre, 0) / scale).T
            centres[band], scales[band] = centre, scale
        x[:, t * b :] = valid.T
        mean_x = x.mean(axis=0)
        x -= mean_x
        y = target.T.astype(np.float64)
        mean = y.mean(axis=0)
        gram = x.T @ x
        gram.flat[:: len(gram) + 1] += RIDGE * np.trace(gram) / len(gram)
        beta = np.linalg.solve(gram, x.T @ (y - mean))
        fitted = x @ beta + mean
        # The share that a pixel has in its own prediction; near 1 it says nothing of what the others predict.
        leverage = np.einsum("np,pn->n", x, np.linalg.solve(gram, x.T)) + 1 / n
        residual = (y - fitted) / (1 - np.minimum(leverage, LARGEST_LEVERAGE))[:, None]
        weights = beta[: t * b].reshape(t, b, b) / scales[:, None]
        return cls(
            weights.astype(np.float32),
            (beta[t * b :] - np.einsum("tib,i->tb", weights, centres)).astype(np.float32),
            (mean - mean_x @ beta).astype(np.float32),
            fitted.T,
            (y - residual).T,
        )

    def __call__(self, guides: Iterable[FloatArray], valid: Iterable[BoolArray]) -> FloatArray:
        """Predict (B, ...) from T guides (B, ...) with their validity (...); they are read only where valid."""
        parts = zip(self.weights, self.offsets, guides, valid, strict=True)
        total: FloatArray | None = None
        for weight, offset, image, ok in parts:
            part = np.tensordot(weight.T, np.where(ok, image, np.float32(0)), 1)
            part += np.where(ok, offset.reshape(-1, *(1,) * ok.ndim), np.float32(0))
            total = part if total is None else total + part
        assert total is not None
        return np.asarray(total + self.level.reshape(-1, *(1,) * (total.ndim - 1)), np.float32)

    def passed(self, variance: F64Array) -> F64Array:
        """(B,) variance in a prediction from all guides of noise that has the given one, (B,), in each of them."""
        return np.asarray(np.einsum("tib,i->b", self.weights.astype(np.float64) ** 2, variance))
