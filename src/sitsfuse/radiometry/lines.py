"""The line from the radiometry of one sensor to that of another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..core.arrays import BoolArray, F64Array
from ..stats.robust import FEWEST, Fit, draw, is_flat, least_median_line, settle

LARGEST = 200_000
"""Samples that a fit looks at; of more, this many are drawn, evenly."""
LEAST_CORRELATION = 0.5
"""Correlation below which there is no line: the noise alone would tell its slope."""
LEAST_USED = 0.5
"""Share of the samples that must lie along the line: of fewer, the others may be the right ones."""
EVEN = 0.001
"""Pull of the weights of combined bands towards equal ones, relative to their variance."""


@dataclass(frozen=True)
class Line:
    """``HR = gain * LR + offset`` of one band. Figures are those of the samples used."""

    gain: float = 1.0
    """Unitless; 1 where ``ok`` is false."""
    offset: float = 0.0
    """In units of the values (reflectance); 0 where ``ok`` is false."""
    correlation: float = math.nan
    rmse_before: float = math.nan
    """Root mean square of LR - HR."""
    rmse_after: float = math.nan
    """Root mean square of ``gain * LR + offset - HR``."""
    bias_before: float = math.nan
    """Mean of LR - HR."""
    count: int = 0
    """Samples given."""
    used: float = math.nan
    """Share of the samples that are not outliers, 0–1."""
    ok: bool = True
    """Whether a line could be fitted."""
    reason: str = ""
    """Why not; or where a line comes from that is not the date's own."""
    gain_error: float = math.nan
    """Standard error of the gain, relative, from its spread between dates."""
    level_error: float = math.nan
    """Standard error of the sensors' mean difference, from its spread between dates."""


def fit_line(x: npt.ArrayLike, y: npt.ArrayLike) -> Line:
    """Fit ``y = gain * x + offset`` to samples with outliers and noise in both.

    Parameters
    ----------
    x, y
        (n,) values of the LR sensor and of the HR sensor degraded to it; samples that are not finite are left out.

    Returns
    -------
    Line
        The identity, not ``ok``, if there are fewer than 30 samples, they do not vary, their correlation is below
        0.5 or less than half of them lie along a line.

    Notes
    -----
    The line is that of least squares of the distance orthogonal to it (total least squares, or Deming's regression)
    after both variables are scaled to unit variance: ``gain = std(y) / std(x)``, ``offset = mean(y) - gain *
    mean(x)``. It is unbiased if noise has the same share of the variance of x as of y, whatever the units and the
    gain; what is displaced between the two images is noise of that kind. Ordinary least squares would take all
    noise for that of y and find too low a gain; orthogonal distances without scaling are biased by the gain itself.

    Outliers may be up to about 40 % of the samples, on one side and far out: the start is the line through two
    samples, of 1000 such lines, with the least median of distances (Rousseeuw 1984). Then samples further than 3
    robust standard deviations (1.4826 times the median absolute residual of those kept) are dropped and the line is
    fitted to the others, until these stay the same.

    References
    ----------
    P. J. Rousseeuw, "Least median of squares regression", Journal of the American Statistical Association 79, 1984.

    W. E. Deming, "Statistical adjustment of data", Wiley, 1943.
    """
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    finite = np.isfinite(x) & np.isfinite(y)
    count = int(finite.sum())
    x, y = draw([x[finite], y[finite]], LARGEST)
    if count < FEWEST:
        return Line(count=count, ok=False, reason=f"only {count} samples")
    if is_flat(x) or is_flat(y):
        return Line(count=count, ok=False, reason="the samples do not vary")
    start = least_median_line(x, y)
    if start is None:
        return Line(count=count, ok=False, reason="one does not rise with the other")

    def solve(kept: BoolArray) -> Fit:
        spread = float(np.std(x[kept]))
        gain = float(np.std(y[kept])) / spread if spread > 0 else start[0]
        return np.array([gain]), float(np.mean(y[kept]) - gain * np.mean(x[kept]))

    weights, offset, kept = settle(x[None], y, (np.array([start[0]]), start[1]), solve)
    return judged(Line(float(weights[0]), offset, count=count), x, y, kept)


def combine_weights(parts: npt.ArrayLike, whole: npt.ArrayLike) -> F64Array:
    """Weights of HR bands that together stand for one broad LR band.

    They minimise the squares of ``gain * sum(weights * parts) + offset - whole`` with weights ≥ 0 that sum to 1, any
    gain > 0 and any offset; outliers are dropped as in :func:`fit_line`. What the bands do not tell apart is shared
    out evenly.

    Parameters
    ----------
    parts
        (k, n) samples of the HR bands, degraded to the LR grid.
    whole
        (n,) samples of the LR band.

    Returns
    -------
    weights
        (k,) float64; equal ones if the samples are too few or do not agree.
    """
    p, w = np.asarray(parts, np.float64), np.asarray(whole, np.float64)
    equal = np.full(p.shape[0], 1 / p.shape[0])
    finite = np.isfinite(p).all(axis=0) & np.isfinite(w)
    p, w = draw([p[:, finite], w[finite]], LARGEST)
    line = fit_line(p.mean(axis=0), w)
    if not line.ok:
        return equal
    from scipy.optimize import nnls

    def solve(kept: BoolArray) -> Fit:
        x, y = p[:, kept], w[kept]
        centre, centred = x.mean(axis=1), x - x.mean(axis=1, keepdims=True)
        pull = math.sqrt(EVEN * float(np.mean(np.square(centred))) * y.size)
        left = np.vstack([centred.T, pull * np.eye(equal.size)])
        shares = np.asarray(nnls(left, np.append(y - y.mean(), pull * line.gain * equal))[0], np.float64)
        return shares, float(y.mean() - shares @ centre)

    shares = settle(p, w, (line.gain * equal, line.offset), solve)[0]
    total = float(shares.sum())
    return shares / total if total > 0 else equal


def judged(line: Line, x: F64Array, y: F64Array, kept: BoolArray) -> Line:
    """The line with its figures; the identity with those of its own if the line is not to be trusted."""
    u, v, share = x[kept], y[kept], float(kept.mean())
    correlation = 0.0 if is_flat(u) or is_flat(v) else float(np.corrcoef(u, v)[0, 1])
    reason = ""
    if share < LEAST_USED or u.size < FEWEST:
        reason = f"only {share:.0%} of the samples lie along a line"
    elif correlation < LEAST_CORRELATION:
        reason = f"the correlation is only {correlation:.2f}"
    chosen = Line(count=line.count) if reason else line
    before, after = u - v, chosen.gain * u + chosen.offset - v
    return replace(
        chosen,
        correlation=correlation,
        rmse_before=float(np.sqrt(np.mean(np.square(before)))),
        rmse_after=float(np.sqrt(np.mean(np.square(after)))),
        bias_before=float(before.mean()),
        used=share,
        ok=not reason,
        reason=reason,
    )
