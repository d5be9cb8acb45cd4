"""How two sensors differ, as dates tell it, and whether to believe that: judged on dates that are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..core.arrays import F64Array
from ..stats.heldout import Estimate, State, Verdict, gain, location
from ..stats.robust import FEWEST
from .lines import Line, fit_line
from .samples import Samples

Kind = Literal["nothing", "difference", "line"]

AGREEING = 0.5
"""Share of a date's windows that are looked at: those where the guides around it agree best."""
STEADY = 0.15
"""Error of a date at best, in standard deviations of the land: nearer guides and a better fit give no more weight."""
CLEAREST = 0.75
"""Quantile of the windows that dates show from which on more give no more weight; of fewer, haze is likely."""
NOISE = 0.1
"""Difference between two images that is taken for none, in standard deviations of the land."""
OUTLYING = 9.0
"""Square of a difference beyond which it counts no more, over the median of a date."""
STEPS: tuple[tuple[Kind, Kind], ...] = (("nothing", "difference"), ("nothing", "line"), ("difference", "line"))
"""What is compared on dates left out."""
EVIDENCE = 2.5
"""Size of a correction in its standard errors, root mean square over the bands, below which it is not applied."""
CLEAR = 3.0
"""The same, below which it is doubtful."""
LEVELS = (0.005, 2.0)
"""Spread between dates of the difference of two sensors that is expected, in reflectance, and the dates it counts."""
GAINS = (0.03, 2.0)
"""The same of the logarithm of their gain."""
SENSIBLE = (0.8, 1.25)
"""Gains that surface reflectances of two sensors can have."""
UNKNOWN = 0.1
"""Standard deviation of the logarithm of a gain, of sensors of which nothing is known."""


@dataclass(frozen=True, eq=False)
class Date:
    """What one date tells."""

    part: str
    """What it is left out with."""
    lr: F64Array
    """(band, n) values of the LR sensor, where the guides agree."""
    hr: F64Array
    """(band, n) the same of the HR sensor."""
    doubt: float
    """Error that is to be expected of the HR values, in standard deviations of the land."""
    weight: float
    """How much it counts: by what it shows of the land, by how well its guides agree and by how well a line fits."""
    lines: tuple[Line, ...]
    """Of each band."""

    @cached_property
    def means(self) -> F64Array:
        """(band,) medians of the LR sensor's values."""
        return np.asarray(np.median(self.lr, axis=1))

    def differences(self, gains: F64Array) -> F64Array:
        """(band,) median difference of the HR values to the LR ones, these multiplied by gains."""
        return np.asarray(np.median(self.hr - gains[:, None] * self.lr, axis=1))

    @cached_property
    def log_gains(self) -> F64Array:
        """(band,) logarithms of the gains; NaN of a band without a line."""
        return np.array([math.log(v.gain) if v.ok else math.nan for v in self.lines])


def read_dates(samples: Sequence[Samples]) -> tuple[list[Date], F64Array]:
    """What each date tells, and the spread of the land.

    Parameters
    ----------
    samples
        Of one or more dates, each of 30 samples or more, all finite.

    Returns
    -------
    dates, spread
        ``spread`` (band,) is the standard deviation of the HR sensor's values, root mean square over the dates.
    """
    spread = np.sqrt(np.mean([s.hr.astype(np.float64).var(axis=1) for s in samples], axis=0))
    scale = np.where(spread > 0, spread, 1.0)
    clear = float(np.quantile([s.lr.shape[1] for s in samples], CLEAREST))
    dates = []
    for s in samples:
        doubt = np.zeros(s.lr.shape[1])
        if s.doubt is not None:
            doubt = np.sqrt(np.mean(np.square(s.doubt / scale[:, None]), axis=0))
        limit = np.quantile(doubt, AGREEING)
        kept = doubt <= limit if (doubt <= limit).sum() >= FEWEST else np.argsort(doubt).argsort() < FEWEST
        x, y = s.lr[:, kept].astype(np.float64), s.hr[:, kept].astype(np.float64)
        lines = tuple(fit_line(a, b) for a, b in zip(x, y, strict=True))
        expected = float(np.sqrt(np.mean(np.square(doubt[kept]))))
        missed = [_scatter(a, b, v) / u for a, b, v, u in zip(x, y, lines, scale, strict=True)]
        weight = min(s.lr.shape[1] / clear, 1.0) / (STEADY**2 + expected**2 + float(np.mean(np.square(missed))))
        dates.append(Date(s.part, x, y, expected, weight, lines))
    return dates, scale


def _scatter(x: F64Array, y: F64Array, line: Line) -> float:
    """Robust standard deviation of the samples around a line through their medians."""
    return 1.4826 * float(np.median(np.abs((y - np.median(y)) - line.gain * (x - np.median(x)))))


@dataclass(frozen=True, eq=False)
class Learner:
    """Learns from some dates, and sees what that is worth on the others."""

    dates: Sequence[Date]
    scale: F64Array
    """(band,) spread of the land."""
    likely: F64Array
    """(band,) standard deviation of the logarithm of the gain, before anything is measured."""

    @cached_property
    def parts(self) -> list[str]:
        """What each date is left out with."""
        return [d.part for d in self.dates]

    @cached_property
    def weights(self) -> F64Array:
        """(date,)"""
        return np.array([d.weight for d in self.dates])

    def gains(self, use: Sequence[int] | None = None) -> list[Estimate]:
        """Logarithm of the gain of each band."""
        use = range(len(self.dates)) if use is None else use
        found = []
        for k in range(self.scale.size):
            known = [i for i in use if math.isfinite(self.dates[i].log_gains[k])]
            values = [float(self.dates[i].log_gains[k]) for i in known]
            found.append(self._location(values, known, GAINS) if known else Estimate(0.0, math.inf, 0.0))
        return found

    def differences(self, use: Sequence[int] | None = None, gains: F64Array | None = None) -> list[Estimate]:
        """HR minus LR of each band, at the mean of the LR values; of gains other than 1, where these are given."""
        use = range(len(self.dates)) if use is None else use
        gains = np.ones(self.scale.size) if gains is None else gains
        level = np.array([self.dates[i].differences(gains) for i in use]) + (gains - 1) * self.middle(use)
        return [self._location(list(level[:, k]), use, LEVELS) for k in range(self.scale.size)]

    def middle(self, use: Sequence[int]) -> F64Array:
        """(band,) mean of the LR values."""
        return np.average([self.dates[i].means for i in use], axis=0, weights=self.weights[list(use)])

    def _location(self, values: Sequence[float], use: Sequence[int], prior: tuple[float, float]) -> Estimate:
        return location(values, self.weights[list(use)], [self.parts[i] for i in use], prior)

    def learn(self, kind: Kind, use: Sequence[int] | None = None) -> tuple[F64Array, F64Array]:
        """(band,) gains and offsets that some dates tell, as far as they are to be believed."""
        use = range(len(self.dates)) if use is None else use
        ones, zeros = np.ones(self.scale.size), np.zeros(self.scale.size)
        if kind == "nothing":
            return ones, zeros
        gains = ones
        if kind == "line":
            known = self.gains(use)
            trust = self.likely**2 / (self.likely**2 + np.square([min(g.error, 1e9) for g in known]))
            gains = np.exp(trust * [g.value for g in known])
        level = self.differences(use, gains)
        trust = np.array([max(0.0, 1 - 1 / d.evidence**2) if d.evidence > 0 else 0.0 for d in level])
        return gains, trust * [d.value for d in level] - (gains - 1) * self.middle(use)

    def left_out(self, kind: Kind) -> F64Array:
        """(date, band) mean squared difference on each date, of what is learnt from the dates of other parts."""
        out = np.empty((len(self.dates), self.scale.size))
        for part in dict.fromkeys(self.parts):
            rest = [i for i, p in enumerate(self.parts) if p != part]
            coefficients = self.learn(kind, rest) if rest else self.learn("nothing")
            for i, date in enumerate(self.dates):
                if date.part == part:
                    out[i] = squares(date, np.diag(coefficients[0]), coefficients[1])
        return out

    def logs(self, left: F64Array) -> F64Array:
        """(date,) log of the root mean square difference, mean over the bands; less than the noise counts as that."""
        noise = np.square(self.scale * NOISE) + np.square(np.outer([d.doubt for d in self.dates], self.scale))
        return np.asarray(np.log(left + noise).mean(axis=1) / 2)


def squares(date: Date, matrix: F64Array, offsets: F64Array) -> F64Array:
    """(band,) mean squared difference of a harmonised date to the guides; outliers count to a limit."""
    square = np.square(matrix @ date.lr + offsets[:, None] - date.hr)
    return np.asarray(np.minimum(square, OUTLYING * np.median(square, axis=1, keepdims=True)).mean(axis=1))


@dataclass(frozen=True, eq=False)
class Decision:
    """What is applied."""

    kind: Kind
    verdict: Verdict
    before: F64Array
    """(band,) root mean square difference on dates left out."""
    after: F64Array
    """(band,) the same with what is learnt from the rest."""


def decide(learner: Learner, bands: Sequence[str], judge: bool, sensible: tuple[float, float]) -> Decision:
    """Choose among nothing, a difference and a line; see :func:`~sitsfuse.radiometry.harmonize.pool`."""
    left: dict[Kind, F64Array] = {k: learner.left_out(k) for k in ("nothing", "difference", "line")}
    logs = {k: learner.logs(v) for k, v in left.items()}
    parts = len(set(learner.parts))

    def gained(a: Kind, b: Kind) -> tuple[float, Estimate]:
        return gain(logs[a], logs[b], learner.weights, learner.parts)

    evidence = {"difference": _together(learner.differences()), "line": _together(learner.gains())}
    better = {(a, b): gained(a, b)[1] for a, b in STEPS}
    kind: Kind = "nothing"
    if evidence["difference"] >= EVIDENCE and better[STEPS[0]].sure:
        kind = "difference"
    if (
        evidence["line"] >= EVIDENCE
        and better[STEPS[1]].sure
        and better[STEPS[2]].evidence > 2
        and better[STEPS[2]].sure
    ):
        kind = "line"
    if not judge:
        kind = "line"
    tried: Kind = kind
    if kind == "nothing":
        tried = "line" if gained("nothing", "line")[0] > gained("nothing", "difference")[0] else "difference"
    share, estimate = gained("nothing", tried)
    gains = learner.learn(tried)[0]
    wrong = [f"{b} {g:.2f}" for b, g in zip(bands, gains, strict=True) if not sensible[0] <= g <= sensible[1]]
    state: State = "applied"
    reason = ""
    if judge and parts < 2:
        state, reason = "not applied", "all dates lie between the same guides: none is left to judge by"
    elif kind == "nothing" and share <= 0:
        state, reason = (
            "not applied",
            f"on left-out dates the difference to the guides would grow by {100 * max(-share, 0.01):.0f} %",
        )
    elif kind == "nothing":
        state, reason = "not applied", "the difference of the sensors is within its uncertainty from date to date"
    elif wrong:
        state, reason = "not applied", f"gains of {', '.join(wrong)} are outside {sensible[0]:g}–{sensible[1]:g}"
    elif parts < 2 or estimate.value < 2 * estimate.error or max(evidence.values()) < CLEAR:
        state, reason = "doubtful", "the gain on left-out dates is hardly above its uncertainty"
    before, after = (np.sqrt(learner.weights @ left[k] / learner.weights.sum()) for k in ("nothing", tried))
    rms = [float(np.sqrt(np.mean(np.square(v)))) for v in (before, after)]
    verdict = Verdict(state, share, (1 - share) * estimate.error, rms[0], rms[1], parts, reason)
    return Decision(kind if verdict.used else "nothing", verdict, before, after)


def _together(estimates: Sequence[Estimate]) -> float:
    """Evidence, root mean square over the bands."""
    return float(np.sqrt(np.mean(np.square([min(e.evidence, 1e6) for e in estimates]))))
