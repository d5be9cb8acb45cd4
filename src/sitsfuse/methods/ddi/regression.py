"""The closed form of DDI: noise-aware regression on details.

Per date p, with guides g_t at LR (gaps filled in time), ``x`` all of them standardised, their validity flags and 1, and
``y`` the target less temporal interpolation, in standard deviations of the band:

    min  Σ_windows q |Δ(y - Σ_k m_k x β_k)|² + ε Σ q (y - Σ_k m_k x β_k)²
         + c N Σ (σ_tb/sd_b)² (w_t δ + Σ m_k β_k)² + λ N |β|²

Δ are details (`details`), so the first term is the error that a residual correction leaves; m are 1 and, bounded by
tanh, the first principal components of the guides, so that weights may depend on the pixel; w are the weights of
temporal interpolation. **The third term** is the noise of the guides: LR pixels average it away, HR pixels do not. It
draws towards weights that are spread over many guides. β = 0 is temporal interpolation, so that any λ that is large
enough gives difference interpolation.

All of it depends on the pixels through sums of products only (`Gram`), which add up over windows and over folds of
held-out pixels: whatever is to be judged costs a Cholesky decomposition and no look at the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from ...core.arrays import BoolArray, F64Array, FloatArray
from .details import weighted_details

LEVEL = 0.03
"""ε: weight of the level, which the residual correction will bring: small, but the only guide where it is not known."""
CENTRE = 0.5
"""What validity flags are centred by."""
FLAT = 1e-6
"""Standard deviation below which a band has nothing to scale by."""
LEAST_HOLD = 1e-9
"""Least λ."""
PIXELS_AT_ONCE = 1 << 14
"""Pixels of which products are summed in float32 before they are added up in float64."""


@dataclass(frozen=True)
class Standard:
    """What standardises the guides, at LR as at HR: T guides, B bands, D = T B + T + 1 regressors."""

    mean: FloatArray
    """(T, B) by which guides are centred."""
    scale: FloatArray
    """(B,) by which they are scaled."""
    axes: FloatArray
    """(K - 1, T B) principal components of the standardised guides, each over its standard deviation."""

    @classmethod
    def of(cls, guides: FloatArray, axes: int) -> Standard:
        """Of (T, B, N) guides without gaps, with at most so many principal components."""
        t, b, n = guides.shape
        mean = guides.mean(axis=2, dtype=np.float64)
        centred = guides - mean[..., None].astype(np.float32)
        scale = np.sqrt((centred.astype(np.float64) ** 2).mean(axis=(0, 2))) if n else np.zeros(b)
        scale = np.where(scale > FLAT, scale, 1.0)
        z = (centred / scale[:, None].astype(np.float32)).reshape(t * b, n)
        value, vector = np.linalg.eigh((z @ z.T).astype(np.float64) / max(n, 1))
        # Beyond what rounding leaves there is nothing that a component could tell.
        kept = [i for i in range(1, min(axes, t * b) + 1) if value[-i] > 1e-3 * value[-1] > 0]
        rows = [vector[:, -i] * np.sign(vector[np.abs(vector[:, -i]).argmax(), -i]) / np.sqrt(value[-i]) for i in kept]
        return cls(
            mean.astype(np.float32),
            scale.astype(np.float32),
            np.array(rows, np.float32).reshape(len(rows), t * b),
        )

    @property
    def size(self) -> int:
        """D."""
        t, b = self.mean.shape
        return int(t * b + t + 1)

    def regressors(self, guides: FloatArray, valid: BoolArray) -> FloatArray:
        """(D, ...) x of guides without gaps, (T, B, ...), and their own validity, (T, ...)."""
        t, b = self.mean.shape
        rest = guides.shape[2:]
        more = (1,) * len(rest)
        x = np.empty((self.size, *rest), np.float32)
        z = x[: t * b].reshape(t, b, *rest)
        np.subtract(guides, self.mean.reshape(t, b, *more), out=z)
        z /= self.scale.reshape(b, *more)
        x[t * b : -1] = valid
        x[t * b : -1] -= CENTRE
        x[-1] = 1
        return x

    def modulations(self, x: FloatArray) -> FloatArray:
        """(K, ...) m of (D, ...) regressors."""
        flat = x[: self.axes.shape[1]].reshape(self.axes.shape[1], -1)
        out = np.ones((1 + len(self.axes), flat.shape[1]), np.float32)
        np.tanh(self.axes @ flat, out=out[1:])
        return out.reshape(-1, *x.shape[1:])


@dataclass(frozen=True)
class Gram:
    """Sums of products over pixels, of M = K D regressors and B outputs."""

    square: F64Array
    """(M, M)."""
    cross: F64Array
    """(M, B)."""
    power: F64Array
    """(B,) of the outputs."""
    m_m: F64Array
    """(K, K) sums of products of the modulations."""
    m_w: F64Array
    """(K, T) those of the modulations and the weights of temporal interpolation."""
    pixels: float
    """Number of pixels."""

    def __add__(self, other: Gram) -> Gram:
        return self._plus(other, 1)

    def __sub__(self, other: Gram) -> Gram:
        return self._plus(other, -1)

    def _plus(self, other: Gram, sign: int) -> Gram:
        return Gram(
            self.square + sign * other.square,
            self.cross + sign * other.cross,
            self.power + sign * other.power,
            self.m_m + sign * other.m_m,
            self.m_w + sign * other.m_w,
            self.pixels + sign * other.pixels,
        )

    def first(self, k: int) -> Gram:
        """The same with the first k modulations only."""
        m = len(self.square) // len(self.m_m) * k
        return Gram(self.square[:m, :m], self.cross[:m], self.power, self.m_m[:k, :k], self.m_w[:k], self.pixels)

    def error(self, beta: F64Array) -> F64Array:
        """(B,) sum of squared errors of coefficients (M, B)."""
        return np.asarray(self.power - 2 * (beta * self.cross).sum(axis=0) + (beta * (self.square @ beta)).sum(axis=0))

    def noise(self, beta: F64Array, noise: F64Array) -> F64Array:
        """(B,) the third term of the sum, beyond that of temporal interpolation: see `solve` for ``noise``."""
        t, b = noise.shape
        k = len(self.m_m)
        parts = beta.reshape(k, -1, b)[:, : t * b]
        if not parts[1:].any():
            k, parts = 1, parts[:1]
        square = (np.tensordot(self.m_m[:k, :k], parts, 1) * parts).sum(axis=0)
        own = parts.reshape(k, t, b, b)[..., np.arange(b), np.arange(b)]
        prior = (self.m_w[:k, :, None] * own).sum(axis=0)
        return np.asarray(noise.ravel() @ square + 2 * (noise * prior).sum(axis=0))


@dataclass(frozen=True)
class Pixels:
    """LR pixels of a date, (..., y, x) images that are 0 where not chosen."""

    x: FloatArray
    """(D, ..., y, x) regressors."""
    m: FloatArray
    """(K, ..., y, x) modulations."""
    y: FloatArray
    """(B, ..., y, x) target less temporal interpolation, in standard deviations."""
    prior: FloatArray
    """(T, ..., y, x) weights of temporal interpolation."""
    chosen: BoolArray
    """(..., y, x)."""

    def gram(self, trust: tuple[FloatArray, FloatArray], some: BoolArray | None = None, k: int | None = None) -> Gram:
        """Sums over the chosen pixels, or over some of them and the windows that hold two of these.

        Parameters
        ----------
        trust
            Weights of windows and of pixels, see `details.trust`.
        some
            (..., y, x).
        k
            How many of the modulations; by default all.
        """
        m = self.m[:k]
        chosen = self.chosen if some is None else self.chosen & some
        mine = chosen.astype(np.float32)
        d, b, t = len(self.x), len(self.y), len(self.prior)
        square, cross = np.zeros((len(m) * d, len(m) * d)), np.zeros((len(m) * d, b))
        at = np.flatnonzero(chosen)
        y = self.y * mine
        ly = weighted_details(y, chosen, trust[0]) + np.float32(LEVEL) * trust[1] * y
        lx = np.empty((len(m) * d, len(at)), np.float32)
        px = np.empty((len(m) * d, len(at)), np.float32)
        for i, plane in enumerate(m):
            part = self.x * (plane * mine)
            px[i * d : (i + 1) * d] = part.reshape(d, -1)[:, at]
            part = weighted_details(part, chosen, trust[0]) + np.float32(LEVEL) * trust[1] * part
            lx[i * d : (i + 1) * d] = part.reshape(d, -1)[:, at]
        ly, py = ly.reshape(b, -1)[:, at], y.reshape(b, -1)[:, at]
        for i in range(0, len(at), PIXELS_AT_ONCE):
            now = slice(i, i + PIXELS_AT_ONCE)
            square += px[:, now] @ lx[:, now].T
            cross += px[:, now] @ ly[:, now].T
        flat = m.reshape(len(m), -1)[:, at].astype(np.float64)
        w = self.prior.reshape(t, -1)[:, at].astype(np.float64)
        return Gram(
            (square + square.T) / 2,
            cross,
            (py.astype(np.float64) * ly).sum(axis=1),
            flat @ flat.T,
            flat @ w.T,
            float(len(at)),
        )


@dataclass(frozen=True)
class Penalty:
    """What holds the coefficients: λ, how free the modulated ones are, and the guides' noise."""

    ridge: float
    """λ."""
    freedom: float
    """Standard deviation of the modulated coefficients over that of the others; 0: none."""


def solve(gram: Gram, noise: F64Array, penalty: Penalty) -> F64Array:
    """Coefficients (M, B) of the least sum.

    Parameters
    ----------
    gram
        Of the pixels to learn from.
    noise
        (T, B) ``c (σ_tb / sd_b)²``.
    penalty
        What else holds the coefficients.
    """
    m = len(gram.square)
    used = gram if penalty.freedom else gram.first(1)
    t, b = noise.shape
    right = used.cross.copy()
    d = m // len(gram.m_m)
    for k, w in enumerate(used.m_w):
        here = right[k * d : k * d + t * b].reshape(t, b, -1)
        here[:, np.arange(b), np.arange(b)] -= noise * w[:, None]
    factor = cho_factor(_held(used, noise, penalty), lower=True, check_finite=False, overwrite_a=True)
    out = np.zeros((m, right.shape[1]))
    out[: len(right)] = cho_solve(factor, right, check_finite=False)
    return out


def posterior(gram: Gram, noise: F64Array, penalty: Penalty, rank: int) -> FloatArray:
    """(rank, D) whose products with regressors x have a sum of squares that goes with the variance of ``x β``.

    Of the coefficients that do not depend on the pixel; the directions along which that variance is largest in the
    details of the pixels learnt from.
    """
    plain = gram.first(1)
    if not rank:
        return np.zeros((0, len(plain.square)), np.float32)
    root = np.linalg.cholesky(_held(plain, noise, penalty))
    value, vector = np.linalg.eigh(plain.square)
    spread = vector * np.sqrt(np.maximum(value, 0))
    # A = L Lᵀ: |L⁻¹ S|² over the directions S of the pixels.
    u, _, _ = np.linalg.svd(solve_triangular(root, spread, lower=True), full_matrices=False)
    return np.asarray(solve_triangular(root, u[:, :rank], lower=True, trans=1).T, np.float32)


def _held(gram: Gram, noise: F64Array, penalty: Penalty) -> F64Array:
    """(M, M) the matrix of the normal equations."""
    k, m = len(gram.m_m), len(gram.square)
    d = m // k
    variance = np.zeros(d)
    variance[: noise.size] = noise.ravel()
    hold = np.full(m, penalty.ridge * gram.pixels)
    hold[d:] /= penalty.freedom**2 or 1
    a = gram.square + np.kron(gram.m_m, np.diag(variance))
    # A regressor that never differs (a constant scene, a flag) needs some hold even without a ridge.
    a.flat[:: m + 1] += hold + LEAST_HOLD * gram.pixels
    return np.asarray(a)


@dataclass(frozen=True)
class Choice:
    """The best penalty of several, by pixels that are held out in turn."""

    penalty: Penalty
    tried: tuple[Penalty, ...]
    error: F64Array
    """(B,) share of the power of y that is left at held-out pixels."""
    errors: tuple[float, ...]
    """What each penalty was judged by: that share of all bands, and the noise that it passes at HR beyond that of
    temporal interpolation."""
    parts: tuple[F64Array, ...]
    """Coefficients (M, B) of the chosen penalty, learnt without each of the folds."""


def choose(folds: Sequence[Gram], noise: F64Array, penalties: Sequence[Penalty]) -> Choice:
    """Judge penalties on folds that are held out in turn; the first is to be none: the least of equals is taken.

    They are judged by the sum that is minimised, without λ: held-out LR pixels do not tell what the noise of the guides
    will do at HR.

    Parameters
    ----------
    folds
        Grams of disjoint sets of pixels.
    noise
        See `solve`.
    penalties
        To choose from.
    """
    total = sum(folds[1:], folds[0])
    power = np.maximum(total.power, 1e-12 * max(total.pixels, 1))
    left, passed, parts = [], [], []
    for penalty in penalties:
        betas = [solve(total - fold, noise, penalty) for fold in folds]
        left.append(sum(fold.error(beta) for fold, beta in zip(folds, betas, strict=True)))
        passed.append(sum(fold.noise(beta, noise) for fold, beta in zip(folds, betas, strict=True)))
        parts.append(tuple(betas))
    errors = [float(np.sum(e + n) / power.sum()) for e, n in zip(left, passed, strict=True)]
    best = int(np.argmin(errors))
    return Choice(penalties[best], tuple(penalties), np.asarray(left[best] / power), tuple(errors), parts[best])
