"""Radiometric harmonisation of an LR series to an HR one, learnt where both saw the land at nearly the same time.

``harmonised = gain * LR + offset`` per band, or a full matrix of bands. What is learnt from are samples: values of
the LR sensor, and of the HR sensor degraded to the LR grid. Images of one sensor differ from date to date, too: by
haze, by the view, by what rain does to the soil. Therefore dates, not pixels, are what a line is learnt from; and
before one is applied, it has to bring the sensors closer on dates that were left out. The HR images to learn from are
the guides: references are there to judge the result and must never get in here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..errors import InputError
from ..stats.heldout import Verdict, gain
from ..stats.robust import FEWEST, Fit, draw, settle, settle_offset
from .learning import SENSIBLE, UNKNOWN, Decision, Learner, decide, read_dates, squares
from .lines import Line, fit_line
from .samples import Samples

Mode = Literal["pooled", "per-date", "mixing"]

FEWEST_PER_DATE = 200
"""Samples below which a date has no line of its own."""
LARGEST = 400_000
"""Samples that are looked at; of more, this many are drawn, evenly from each date."""
MIXED = 2000
"""Samples of a date that a matrix of bands is learnt from; of more, this many are drawn, evenly."""
RIDGE = 0.1
"""Pull of the band matrix towards the diagonal, relative to the variance of a band."""


@dataclass(frozen=True)
class Harmonization:
    """How to harmonise a series, and how well that fits."""

    lines: Mapping[str, Line]
    """Line of each band for all dates, in the order of the bands; the identity where none is applied."""
    dates: Mapping[str, Mapping[str, Line]] = field(default_factory=dict)
    """Lines of single dates (ISO days) by band, where they were asked for."""
    matrix: tuple[tuple[float, ...], ...] | None = None
    """(band, band) weights of the LR bands (columns) in each harmonised band (rows), where they were asked for."""
    offsets: tuple[float, ...] | None = None
    """(band,) offsets that belong to the matrix, in units of the values."""
    verdict: Verdict = field(default_factory=lambda: Verdict("applied"))
    """What was decided, of all bands together, and why."""

    @property
    def changes(self) -> bool:
        """Whether anything is changed."""
        rows = [self.lines, *self.dates.values()]
        return self.matrix is not None or any((v.gain, v.offset) != (1, 0) for row in rows for v in row.values())

    def coefficients(self, date: np.datetime64) -> tuple[F64Array, F64Array]:
        """Matrix (band, band) and offsets (band,) that hold on a date; a day without lines has those of all dates."""
        if self.matrix is not None:
            return np.array(self.matrix), np.array(self.offsets)
        lines = self.dates.get(_day(date), self.lines)
        return np.diag([lines[b].gain for b in self.lines]), np.array([lines[b].offset for b in self.lines])

    def apply(self, values: FloatArray, date: np.datetime64) -> FloatArray:
        """Harmonise an LR image.

        Parameters
        ----------
        values
            (band, y, x) float32, bands in the order of ``lines``.
        date
            Of the image.

        Returns
        -------
        harmonised
            (band, y, x) float32; what is NaN stays NaN, and all values stay as they are if nothing is changed.
        """
        matrix, offsets = (a.astype(np.float32) for a in self.coefficients(date))
        if self.matrix is None:
            gains = np.diagonal(matrix)
            if (gains == 1).all() and (offsets == 0).all():
                return values
            return np.asarray(gains[:, None, None] * values + offsets[:, None, None], np.float32)
        return np.asarray(np.tensordot(matrix, values, 1) + offsets[:, None, None], np.float32)

    def to_mapping(self) -> dict[str, Any]:
        """The fields, as JSON can hold them: None for what is not known."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {k: plain(v) for k, v in value.items()}
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        out: dict[str, Any] = plain(asdict(self))
        return out


def pool(
    samples: Sequence[Samples],
    bands: Sequence[str],
    mode: Mode = "pooled",
    *,
    judge: bool = True,
    sensible: tuple[float, float] = SENSIBLE,
    likely: Sequence[float] | None = None,
) -> Harmonization:
    """Learn how to harmonise a series from pairs of images.

    Parameters
    ----------
    samples
        Of each pair of images, bands in the same order. Only guides may be in them, no references.
    bands
        Names of the bands.
    mode
        "pooled": one line per band for all dates. "per-date": also lines of the dates in ``samples``; a date of
        fewer than 200 samples, or without a good line, has that of all dates. "mixing": a matrix of bands for all
        dates, by least squares around the lines of all dates and pulled towards them (ridge).
    judge
        Whether to apply only what gains on dates left out; else what is found is applied.
    sensible
        Gains that are applied; a line with another is refused.
    likely
        (band,) standard deviation of the logarithm of the gain before anything is measured: small for bands of the
        same spectral response. By default 0.1.

    Returns
    -------
    Harmonization
        The identity where nothing is learnt; ``verdict`` says why.

    Raises
    ------
    InputError
        If the mode is unknown.

    Notes
    -----
    Each date tells a difference of the sensors (the median of its samples) and a gain (of its :func:`fit_line`), from
    the half of its windows where the guides around it agree best. Dates count by their guides' agreement and by how
    well a line fits; a robust mean of the dates, which missed clouds or haze do not sway, gives the difference and
    the gain, and their spread the errors. Dates between the same two guides count as one there.

    A difference is applied if it is larger than its error, 2.5 times as root mean square over the bands, and brings
    the sensors closer on the dates left out in turn, by more than the error of that; a gain likewise, on top of the
    difference, if it does so by more than twice that error. Both are shrunk by what remains of doubt: the difference
    by ``1 - 1 / t²``, with t its size in standard errors [1]_, the gain by the share of its likely variance in that
    and its error's.

    References
    ----------
    .. [1] W. James, C. Stein, Estimation with quadratic loss, Proc. 4th Berkeley Symp. Math. Statist. Prob., 1961.
    """
    if mode not in get_args(Mode):
        raise InputError("harmonisation", f"{mode!r} is not known", f"choose among {', '.join(get_args(Mode))}")
    if any(a.shape[0] != len(bands) for s in samples for a in (s.lr, s.hr)):
        raise ValueError(f"samples must have the {len(bands)} bands {', '.join(bands)}")
    held = [s for s in map(_finite, samples) if s.lr.shape[1] >= FEWEST]
    count = sum(s.lr.shape[1] for s in samples)
    if not held:
        reason = f"only {count} samples" if count < FEWEST else "no date has enough samples"
        return _nothing(bands, reason, count)
    most = LARGEST // len(held)
    likely_gains = np.full(len(bands), UNKNOWN) if likely is None else np.asarray(likely, np.float64)
    learner = Learner(*read_dates([_drawn(s, most) for s in held]), likely_gains)
    decision = decide(learner, bands, judge, sensible)
    lines = _lines(learner, bands, decision, count)
    if mode == "per-date":
        days = sorted({_day(s.date) for s in held})
        own = {d: _of_date([s for s in held if _day(s.date) == d], lines, sensible) for d in days}
        return Harmonization(lines, own, verdict=decision.verdict)
    if mode == "mixing":
        return _mixing(learner, lines, decision, judge)
    return Harmonization(lines, verdict=decision.verdict)


def _nothing(bands: Sequence[str], reason: str, count: int) -> Harmonization:
    """Bands stay as they are."""
    line = Line(count=count, ok=False, reason=reason)
    return Harmonization(dict.fromkeys(bands, line), verdict=Verdict("not applied", reason=reason))


def _lines(learner: Learner, bands: Sequence[str], decision: Decision, count: int) -> dict[str, Line]:
    """What is applied to each band, with its figures on dates that were left out."""
    gains, offsets = learner.learn(decision.kind)
    known, levels, weights = learner.gains(), learner.differences(), learner.weights
    lines = {}
    for k, band in enumerate(bands):
        own = [(d.lines[k].correlation, w) for d, w in zip(learner.dates, weights, strict=True)]
        told = [(c, w) for c, w in own if math.isfinite(c)]
        used = [d.lines[k].used if d.lines[k].ok else 0.0 for d in learner.dates]
        lines[band] = Line(
            gain=float(gains[k]),
            offset=float(offsets[k]),
            gain_error=known[k].error,
            level_error=levels[k].error,
            correlation=float(np.average([c for c, _ in told], weights=[w for _, w in told])) if told else math.nan,
            rmse_before=float(decision.before[k]),
            rmse_after=float(decision.after[k] if decision.verdict.used else decision.before[k]),
            bias_before=-levels[k].value,
            count=count,
            used=float(np.average(used, weights=weights)),
            ok=decision.verdict.used,
            reason="" if decision.verdict.used else decision.verdict.reason,
        )
    return lines


def _of_date(samples: Sequence[Samples], lines: Mapping[str, Line], sensible: tuple[float, float]) -> dict[str, Line]:
    """Lines of one date by band; where it has none of its own, that of all dates."""
    lr, hr = (np.concatenate([getattr(s, name) for s in samples], axis=1) for name in ("lr", "hr"))
    out = {}
    for k, (band, common) in enumerate(lines.items()):
        own = fit_line(lr[k], hr[k])
        why = f"only {own.count} samples" if own.count < FEWEST_PER_DATE else own.reason
        if not why and not sensible[0] <= own.gain <= sensible[1]:
            why = f"a gain of {own.gain:.2f} is outside {sensible[0]:g}–{sensible[1]:g}"
        out[band] = replace(common, reason=f"that of all dates: {why}") if why else own
    return out


def _mixing(learner: Learner, lines: Mapping[str, Line], decision: Decision, judge: bool) -> Harmonization:
    """A matrix of bands, if it brings the sensors closer than the lines do on dates left out."""
    parts = [draw([d.lr, d.hr], MIXED) for d in learner.dates]

    def matrix(use: Sequence[int]) -> tuple[F64Array, F64Array]:
        gains, offsets = learner.learn(decision.kind, use)
        return _mixed([parts[i] for i in use], gains, offsets)

    everything = range(len(parts))
    if judge:
        left = np.empty((len(parts), learner.scale.size))
        for part in dict.fromkeys(learner.parts):
            rest = [i for i in everything if learner.parts[i] != part]
            for i in everything:
                if learner.parts[i] == part and rest:
                    left[i] = squares(learner.dates[i], *matrix(rest))
        alone, mixed = learner.logs(learner.left_out(decision.kind)), learner.logs(left)
        share, estimate = gain(alone, mixed, learner.weights, learner.parts)
        if not estimate.value > 2 * estimate.error:
            said = f"on left-out dates a matrix of bands would gain {share:+.0%} over lines: too little"
            return Harmonization(lines, verdict=replace(decision.verdict, reason=said))
        nothing = learner.logs(learner.left_out("nothing"))
        share, estimate = gain(nothing, mixed, learner.weights, learner.parts)
        verdict = replace(decision.verdict, state="applied", gained=share, reason="")
        decision = replace(decision, verdict=replace(verdict, error=(1 - share) * estimate.error))
    weights, offsets = matrix(everything)
    rows = tuple(tuple(float(v) for v in row) for row in weights)
    return Harmonization(lines, matrix=rows, offsets=tuple(float(v) for v in offsets), verdict=decision.verdict)


def _mixed(parts: Sequence[Sequence[F64Array]], gains: F64Array, offsets: F64Array) -> tuple[F64Array, F64Array]:
    """(band, band) weights of the LR bands in each HR band and (band,) offsets: ridge regression around the lines."""
    bands = gains.size
    rows = [_row(k, [(x, y[k]) for x, y in parts], gains[k] * np.eye(bands)[k]) for k in range(bands)]
    return np.array([w for w, _ in rows]), np.array([o for _, o in rows])


def _row(band: int, parts: Sequence[tuple[F64Array, F64Array]], alone: F64Array) -> tuple[F64Array, float]:
    """Weights (band,) of the LR bands in one HR band, and the offset."""
    # Each date is centred on its samples along the band's line: what shifts a whole image is not a matter of bands.
    along = [settle_offset(x[band][None], y, alone[band : band + 1])[1] for x, y in parts]
    x = np.concatenate(
        [x - x[:, k].mean(axis=1, keepdims=True) for (x, _), k in zip(parts, along, strict=True)], axis=1
    )
    y = np.concatenate([y - y[k].mean() for (_, y), k in zip(parts, along, strict=True)])

    def solve(kept: BoolArray) -> Fit:
        u, v = x[:, kept], y[kept]
        size = np.sqrt(np.mean(np.square(u), axis=1))
        size[size == 0] = 1
        u = u / size[:, None]
        left = v - (alone * size) @ u
        change = np.linalg.solve(u @ u.T / v.size + RIDGE * np.eye(alone.size), u @ left / v.size)
        return alone + change / size, 0.0

    weights = settle(x, y, (alone, 0.0), solve)[0]
    lr, hr = np.concatenate([x for x, _ in parts], axis=1), np.concatenate([y for _, y in parts])
    return weights, settle_offset(lr, hr, weights)[0]


def _drawn(samples: Samples, most: int) -> Samples:
    """No more samples than that."""
    arrays = [samples.lr, samples.hr] + ([] if samples.doubt is None else [samples.doubt])
    lr, hr, *doubt = draw(arrays, max(most, FEWEST))
    return replace(samples, lr=lr, hr=hr, doubt=doubt[0] if doubt else None)


def _finite(samples: Samples) -> Samples:
    """The samples that have a value in every band."""
    whole = np.isfinite(samples.lr).all(axis=0) & np.isfinite(samples.hr).all(axis=0)
    if whole.all():
        return samples
    doubt = None if samples.doubt is None else samples.doubt[:, whole]
    return replace(samples, lr=samples.lr[:, whole], hr=samples.hr[:, whole], doubt=doubt)


def _day(date: np.datetime64) -> str:
    return str(np.datetime64(date, "D"))  # type: ignore[call-overload]
