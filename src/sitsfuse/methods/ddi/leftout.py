"""Guides that are left out, predicted from the others and compared with at HR: what LR pixels cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.arrays import BoolArray, F64Array, FloatArray, Times
from ...core.dates import days
from ...operators.residual import correct
from ...operators.updown import up_mask
from ...stats.noise import TINY
from ..shared.calibration import LEAST, deviation, high_pass
from .closed import LINEAR, Coarse, Problem
from .folds import block_folds
from .hyper import Training
from .regression import Standard
from .trial import try_networks
from .windows import Sample, gap_free

CAUTIONS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Weights of the guides' noise to choose from."""
COMMON = 2.0
"""What is taken where no guide can be left out. Details within 2×2 LR pixels count 3 times per pixel; at HR, where the
noise is, errors in details are one to three times as large."""
DOUBT = 0.015
"""Relative gain in error that must speak for each doubling or halving of `COMMON`."""
LEFT_OUT = {1: 6, 2: 4, 3: 3}
"""Most guides that are left out of each of so many samples, the clearest."""
FEWEST = 100
"""Fewest clear LR pixels for that."""
SHARES = (0.0, 0.25, 0.5)
"""Shares of networks in the prediction to choose from."""
JUDGES = 3
"""Most left-out guides that judge networks."""
LEAST_GAIN = 0.01
"""Share of the error that networks must take away."""
HIGH_PASS = 0.64
"""Share of the variance of white noise that `high_pass` leaves: the sum of the squares of its weights."""


@dataclass(frozen=True)
class LeftOut:
    """A guide that was left out of a sample, predicted with each of `CAUTIONS`."""

    error: F64Array
    """(C,) mean square of the error at HR, over that of difference interpolation, mean over the bands."""
    growth: F64Array
    """(C, B) variance of the errors in HR details, per variance of those in the finest LR details."""


@dataclass(frozen=True)
class Lesson:
    """What they tell together."""

    caution: float
    """The weight of the guides' noise."""
    growth: F64Array
    """(B,) the growth of errors with it."""
    errors: tuple[float, ...]
    """Error at HR of each of `CAUTIONS`, relative to difference interpolation; empty if none could be left out."""
    share: float = 0.0
    """The share of networks."""
    network_errors: tuple[float, ...] = ()
    """Error at HR of each of `SHARES`, relative to none; empty where networks were not tried."""


def choose_caution(cases: Sequence[Case], bands: int) -> Lesson:
    """Choose the weight of the guides' noise by guides that are left out."""
    found = [case.cautions() for case in cases]
    if not found:
        return Lesson(COMMON, np.ones(bands), ())
    errors = np.sqrt(np.mean([f.error for f in found], axis=0))
    best = int(np.argmin(errors * (1 + DOUBT * np.abs(np.log2(np.array(CAUTIONS) / COMMON)))))
    growth = np.median([f.growth[best] for f in found], axis=0)
    return Lesson(CAUTIONS[best], growth, tuple(round(float(e), 4) for e in errors))


@dataclass(frozen=True)
class How:
    """What a left-out guide is predicted with."""

    mtf: tuple[float, ...]
    iterations: int
    folds: int
    block: int
    seed: int
    grain: F64Array
    """(B,) variance, in each guide, of what is white at HR."""
    passed_down: F64Array
    """(B,) share of it that ↓ passes."""


@dataclass(frozen=True)
class Case:
    """A guide that is left out of a sample, as its date to predict."""

    coarse: Coarse
    problem: Problem
    variance: F64Array
    """(T - 1, B) of the other guides' noise, standardised, not weighted."""
    sample: Sample
    values: FloatArray
    """(T - 1, B, y, x) the other guides."""
    valid: BoolArray
    offsets: F64Array
    target: FloatArray
    """(B, y, x) the guide itself, degraded."""
    known: BoolArray
    seen: BoolArray
    """(y, x) where the errors at HR count."""
    truth: FloatArray
    """(B, pixels) the guide there."""
    how: How

    @classmethod
    def of(cls, sample: Sample, k: int, times: Times, standard: Standard, noise: F64Array, how: How) -> Case | None:
        """Leave guide k out; None if too little of it can be compared."""
        others = np.flatnonzero(np.arange(len(times)) != k)
        values, valid, known = sample.values[others], sample.valid[others], sample.coarse_valid[others]
        ok = sample.coarse_valid[k] & known.any(axis=0)
        seen = up_mask(ok, sample.grids) & sample.valid[k] & valid.any(axis=0)
        if np.count_nonzero(ok) < FEWEST or np.count_nonzero(seen) < FEWEST:
            return None
        coarse = Coarse(gap_free(sample.coarse[others], known, times[others])[:, :, None], known[:, None])
        few = Standard(standard.mean[others], standard.scale, np.zeros((0, len(others) * noise.shape[1]), np.float32))
        offsets = days(times[others], times[k])
        variance = (noise[others] / standard.scale) ** 2
        folds = block_folds(ok[None], how.folds, how.block, how.seed)
        target = sample.coarse[k]
        problem = Problem(coarse, few, target[:, None], ok[None], offsets, COMMON * variance, folds)
        truth = sample.values[k][:, seen]
        return cls(coarse, problem, variance, sample, values, valid, offsets, target, ok, seen, truth, how)

    def error(self, image: FloatArray) -> FloatArray:
        """(B, pixels) of an image, after residual corrections."""
        whole = (1.0,) * len(self.target)
        known = np.asarray(self.valid.any(axis=0))
        out, _, _ = correct(
            image, known, self.target, self.known, self.sample.grids, self.how.mtf, whole, self.how.iterations
        )
        return np.asarray(out[:, self.seen] - self.truth)

    def cautions(self) -> LeftOut:
        """Predict with each of `CAUTIONS`."""
        problem = self.problem
        still = problem.fit(self.variance, problem.choose(self.variance, LINEAR[:1]), 0)
        plain = _power(self.error(still.at_hr(self.values, self.valid, self.offsets)[0]))
        errors, growth = [], []
        for caution in CAUTIONS:
            choice = problem.choose(caution * self.variance, LINEAR)
            closed = problem.fit(caution * self.variance, choice, 0)
            left = self.error(closed.at_hr(self.values, self.valid, self.offsets)[0])
            errors.append(float(np.mean(_power(left) / np.maximum(plain, TINY))))
            held = problem.pixels.y - problem.held_out(choice)
            growth.append(_growth(problem, closed.beta, left, held[:, problem.chosen], self.how))
        return LeftOut(np.array(errors), np.array(growth))

    def shares(self, caution: float, training: Training) -> F64Array:
        """(shares,) mean square of the error with each of `SHARES` of networks, over that of none."""
        problem, variance = self.problem, caution * self.variance
        closed = problem.fit(variance, problem.choose(variance), 0)
        trial = try_networks(self.coarse, problem, variance, training)
        more, _ = trial.ensemble.to(training.device).departure(self.values, self.valid)
        powers = []
        for share in SHARES:
            image, _ = closed.at_hr(self.values, self.valid, self.offsets, 1 - share)
            powers.append(_power(self.error(image + np.float32(share) * more)))
        return np.asarray([np.mean(p / np.maximum(powers[0], TINY)) for p in powers])


def judge_networks(lesson: Lesson, cases: Sequence[Case], training: Training, always: bool) -> Lesson:
    """Choose the share of networks by the clearest of the left-out guides.

    Parameters
    ----------
    lesson, cases
        What the guides told so far, and the guides.
    training
        How networks are trained.
    always
        Whether a share above 0 is taken in any case.
    """
    found = [case.shares(lesson.caution, training) for case in cases[:JUDGES]]
    if not found:
        return replace(lesson, share=SHARES[-1] if always else 0.0)
    errors = np.sqrt(np.mean(found, axis=0))
    best = int(np.argmin(errors[1:])) + 1
    share = SHARES[best] if always or errors[best] <= 1 - LEAST_GAIN else 0.0
    return replace(lesson, share=share, network_errors=tuple(round(float(e), 4) for e in errors))


def leave_out(samples: Sequence[Sample], times: Times, standard: Standard, noise: F64Array, how: How) -> list[Case]:
    """The clearest guides, left out of every sample in turn."""
    found = []
    for sample in samples if len(times) > 1 else ():
        clear = sample.valid.reshape(len(times), -1).mean(axis=1)
        for k in np.argsort(-clear, kind="stable")[: LEFT_OUT[len(samples)]].tolist():
            case = Case.of(sample, k, times, standard, noise, how)
            if case is not None:
                found.append(case)
    return found


def _power(error: FloatArray) -> F64Array:
    return np.asarray((error**2).mean(axis=1, dtype=np.float64))


def _growth(problem: Problem, beta: F64Array, error: FloatArray, held: FloatArray, how: How) -> F64Array:
    """(B,) variance of errors at HR per that of the finest details at LR, both less what is white."""
    white = how.grain + problem.passed(beta, np.broadcast_to(how.grain, problem.standard.mean.shape))
    at_hr = deviation(error) ** 2
    at_lr = (deviation(high_pass(held, problem.chosen)) * problem.standard.scale) ** 2
    scene = np.maximum(at_lr - HIGH_PASS * how.passed_down * white, LEAST * at_lr)
    return np.asarray(np.maximum(at_hr - white, 0) / np.maximum(scene, TINY))
