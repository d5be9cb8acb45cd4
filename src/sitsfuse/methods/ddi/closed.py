"""DDI's closed form for one date: learnt at LR, judged by held-out blocks, applied at HR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.arrays import BoolArray, F64Array, FloatArray, IntArray
from ...core.timeline import temporal_weights
from ..kernels.regression import combine
from .details import trust, whole_windows
from .regression import Choice, Penalty, Pixels, Standard, choose, posterior, solve

LINEAR = tuple(Penalty(ridge, 0.0) for ridge in (1e3, 1.0, 1e-1, 1e-2, 1e-3, 1e-4))
"""Penalties of weights that are the same for all pixels; the first leaves temporal interpolation as it is."""
MODULATED = tuple(Penalty(ridge, freedom) for ridge in (1e-1, 1e-2, 1e-3) for freedom in (0.1, 0.3, 1.0))
"""Penalties of weights that follow the pixel's place among the guides' principal components."""
ROUNDS = 2
"""Rounds of weights for what the fit does not explain."""
FIRST = Penalty(1e-3, 0.0)
"""Penalty while these are found."""
RANK = 6
"""Directions of the posterior's variance that are kept."""
AT_ONCE = 1 << 16
"""HR pixels predicted at once."""
MARGIN = 0.5
"""How far a prediction at HR may leave the range seen at LR, as a share of it."""


@dataclass(frozen=True)
class Coarse:
    """The guides at LR on training windows: what every date has in common."""

    guides: FloatArray
    """(T, B, W, y, x), gaps closed in time, 0 where no guide is valid."""
    valid: BoolArray
    """(T, W, y, x) of the guides themselves."""

    @property
    def covered(self) -> BoolArray:
        """(W, y, x) where any guide is valid."""
        return np.asarray(self.valid.any(axis=0))

    def standard(self, axes: int) -> Standard:
        """What standardises them."""
        return Standard.of(self.guides[:, :, self.covered], axes)


@dataclass(frozen=True)
class Closed:
    """A fitted closed form."""

    standard: Standard
    beta: F64Array
    """(M, B) coefficients, in standard deviations."""
    penalty: Penalty
    least: FloatArray
    """(B,) least departure from temporal interpolation that is predicted, in standard deviations."""
    most: FloatArray
    """(B,) largest one."""
    directions: FloatArray
    """(rank, D) of the posterior: see `regression.posterior`."""

    @property
    def modulations(self) -> int:
        """K, or 1 where the weights are the same for all pixels."""
        return len(self.beta) // self.standard.size if self.penalty.freedom else 1

    def coefficients(self) -> FloatArray:
        """(B K + K - 1 + rank, D) of guides as they are, validity and 1, for `kernels.regression.combine`."""
        k, d = self.modulations, self.standard.size
        t, b = self.standard.mean.shape
        rows = np.concatenate(
            [
                self.beta[: k * d].reshape(k, d, b).transpose(0, 2, 1).reshape(k * b, d),
                np.pad(self.standard.axes[: k - 1], ((0, 0), (0, d - t * b))),
                self.directions,
            ]
        ).astype(np.float64)
        out = rows.copy()
        out[:, : t * b] /= np.tile(self.standard.scale, t)
        out[:, -1] -= out[:, : t * b] @ self.standard.mean.ravel() + 0.5 * rows[:, t * b : -1].sum(axis=1)
        return out.astype(np.float32)

    def at_hr(
        self, values: FloatArray, valid: BoolArray, offsets: F64Array, share: float = 1.0
    ) -> tuple[FloatArray, FloatArray]:
        """Predict HR pixels, before any residual correction.

        Parameters
        ----------
        values, valid
            (T, B, ...) read only where valid, and (T, ...).
        offsets
            (T,) days from the date to each guide.
        share
            How much of the departure from temporal interpolation to keep.

        Returns
        -------
        image, spread
            (B, ...), 0 where no guide is valid, and (...) the standard deviation of its posterior, without a unit.
        """
        t, b = values.shape[:2]
        rest = values.shape[2:]
        n = math.prod(rest)
        k, coefficients = self.modulations, self.coefficients()
        flat, ok = values.reshape(t, b, n), valid.reshape(t, n)
        image, spread = np.empty((b, n), np.float32), np.empty(n, np.float32)
        for start in range(0, n, AT_ONCE):
            count = min(AT_ONCE, n - start)
            now = slice(start, start + count)
            base, out = combine(flat, ok, offsets, coefficients, start, count)
            departure = out[:b]
            for i in range(1, k):
                departure += np.tanh(out[k * b + i - 1]) * out[i * b : (i + 1) * b]
            np.clip(departure, self.least[:, None], self.most[:, None], out=departure)
            image[:, now] = base + np.float32(share) * self.standard.scale[:, None] * departure
            spread[now] = np.sqrt((out[k * b + k - 1 :] ** 2).sum(axis=0))
        return image.reshape(b, *rest), spread.reshape(rest)

    def weights(self, values: FloatArray, valid: BoolArray, offsets: F64Array) -> FloatArray:
        """(T, B, ...) weight of every guide's band in the same band of the prediction; 0 for invalid guides.

        What closes an invalid guide's gap carries its weight.
        """
        t, b = values.shape[:2]
        rest = values.shape[2:]
        n = math.prod(rest)
        ok = valid.reshape(t, n)
        every = np.eye(t, dtype=np.float32)
        k, d = self.modulations, self.standard.size
        rows = np.pad(self.standard.axes[: k - 1], ((0, 0), (0, d - t * b))).astype(np.float64)
        m = np.ones((k, n), np.float32)
        if k > 1:
            rows[:, : t * b] /= np.tile(self.standard.scale, t)
            rows[:, -1] -= rows[:, : t * b] @ self.standard.mean.ravel()
            m[1:] = np.tanh(combine(values.reshape(t, b, n), ok, offsets, rows.astype(np.float32))[1])
        beta = self.beta[: k * d].reshape(k, d, b)[:, : t * b].reshape(k, t, b, b)
        own = np.einsum("ktbb->ktb", beta).astype(np.float32)
        share = self._share(values.reshape(t, b, n), ok, offsets)
        out = np.repeat(temporal_weights(ok, offsets)[:, None], b, axis=1)
        for guide in range(t):
            filled_from = (
                every[guide][:, None] * ok if ok[guide].all() else temporal_weights(ok, offsets - offsets[guide])
            )
            own_now = np.einsum("kb,kn->bn", own[:, guide], m) * share
            for source in np.flatnonzero(filled_from.any(axis=1)):
                out[source] += filled_from[source] * own_now
        return np.asarray(out.reshape(t, b, *rest))

    def _share(self, values: FloatArray, valid: BoolArray, offsets: F64Array) -> FloatArray:
        """(B, N) what the bounds leave of the departure."""
        b = values.shape[1]
        free = Closed(
            self.standard, self.beta, self.penalty, np.full(b, -np.inf, np.float32), np.full(b, np.inf, np.float32),
            self.directions[:0],
        )  # fmt: skip
        base, _ = combine(values, valid, offsets, np.zeros((1, self.standard.size), np.float32))
        wanted = (free.at_hr(values, valid, offsets)[0] - base) / self.standard.scale[:, None]
        kept = np.clip(wanted, self.least[:, None], self.most[:, None])
        return np.asarray(np.divide(kept, wanted, out=np.ones_like(wanted), where=np.abs(wanted) > 1e-12))


class Problem:
    """The closed form of one date at LR, from which candidates cost next to nothing."""

    def __init__(
        self,
        coarse: Coarse,
        standard: Standard,
        target: FloatArray,
        chosen: BoolArray,
        offsets: F64Array,
        variance: F64Array,
        folds: IntArray,
    ) -> None:
        """Sum up products.

        Parameters
        ----------
        coarse, standard
            The guides, and what standardises them.
        target, chosen
            (B, W, y, x) the LR image, read only where chosen, and (W, y, x).
        offsets
            (T,) days from the date to each guide.
        variance
            (T, B) ``c (σ_tb / sd_b)²``, while clouds and harvests are looked for.
        folds
            (W, y, x) number of the fold of each pixel.
        """
        self.standard, self.chosen, self.folds = standard, chosen, folds
        prior = temporal_weights(coarse.valid, offsets)
        base = np.einsum("t...,tb...->b...", prior, coarse.guides)
        scale = standard.scale.reshape(-1, *(1,) * chosen.ndim)
        self.base = base
        y = np.where(chosen, (target - base) / scale, np.float32(0))
        x = standard.regressors(coarse.guides, coarse.valid) * chosen
        self.pixels = Pixels(x, standard.modulations(x) * chosen, y, prior * chosen, chosen)
        weights = whole_windows(chosen), chosen.astype(np.float32)
        for _ in range(ROUNDS):
            plain = self.pixels.gram(weights, k=1)
            beta = solve(plain, variance, FIRST)
            weights = trust(y - np.tensordot(beta.T.astype(np.float32), x, 1), chosen)
        self.trust = weights
        self.parts = [self.pixels.gram(weights, folds == k) for k in range(int(folds[chosen].max(initial=0)) + 1)]
        self.all = self.pixels.gram(weights)

    def choose(self, variance: F64Array, penalties: Sequence[Penalty] = LINEAR + MODULATED) -> Choice:
        """The best penalty by held-out blocks."""
        usable = [p for p in penalties if not p.freedom or len(self.pixels.m) > 1]
        return choose(self.parts, variance, usable)

    def fit(self, variance: F64Array, choice: Choice, rank: int = RANK) -> Closed:
        """The closed form of all pixels, with so many directions of its posterior."""
        beta = solve(self.all, variance, choice.penalty)
        departure = self.departure(beta)[:, self.chosen]
        least, most = departure.min(axis=1), departure.max(axis=1)
        room = MARGIN * (most - least)
        directions = posterior(self.all, variance, choice.penalty, rank)
        return Closed(self.standard, beta, choice.penalty, least - room, most + room, directions)

    def departure(self, beta: F64Array) -> FloatArray:
        """(B, W, y, x) what coefficients (M, B) add to temporal interpolation, in standard deviations."""
        d = self.standard.size
        out = np.zeros_like(self.pixels.y)
        for k, m in enumerate(self.pixels.m):
            part = beta[k * d : (k + 1) * d]
            if part.any():
                out += m * np.tensordot(part.T.astype(np.float32), self.pixels.x, 1)
        return out

    def held_out(self, choice: Choice) -> FloatArray:
        """(B, W, y, x) the departure of every pixel as learnt without its fold, in standard deviations."""
        out = np.zeros_like(self.pixels.y)
        for k, beta in enumerate(choice.parts):
            mine = self.chosen & (self.folds == k)
            out[:, mine] = self.departure(beta)[:, mine]
        return out

    def passed(self, beta: F64Array, variance: F64Array) -> F64Array:
        """(B,) variance in the prediction of noise whose variance in guide and band is (T, B), in reflectance²."""
        t, b = variance.shape
        scale = self.standard.scale.astype(np.float64)
        n = max(self.all.pixels, 1)
        k, d = len(self.all.m_m), self.standard.size
        parts = beta.reshape(k, d, b)[:, : t * b].reshape(k, t, b, b)
        square = np.einsum("kl,ktib,ltib->tib", self.all.m_m / n, parts, parts)
        own = 2 * np.einsum("kt,ktbb->tb", self.all.m_w / n, parts)
        own += (self.pixels.prior[:, self.chosen] ** 2).mean(axis=1, dtype=np.float64)[:, None]
        square[:, np.arange(b), np.arange(b)] += own
        return np.asarray(np.einsum("tib,ti->b", square, variance / scale**2) * scale**2)


def penalty_text(penalty: Penalty) -> str:
    """A penalty for the record."""
    return f"ridge {penalty.ridge:g}" + (f", modulated {penalty.freedom:g}" if penalty.freedom else "")
