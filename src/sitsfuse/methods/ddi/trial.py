"""Networks beside the closed form of a date: trained, and judged on held-out pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.arrays import BoolArray, F64Array, FloatArray, IntArray
from .closed import Coarse, Problem
from .details import weighted_details, whole_windows
from .hyper import Training
from .regression import Choice

if TYPE_CHECKING:
    from .network import Ensemble

MOST_PIXELS = 40_000
"""About the most LR pixels that networks are trained on."""
AT_ONCE = 4096
"""Pixels predicted at once."""


@dataclass(frozen=True)
class Trial:
    """Trained networks, and what they say of the pixels that they have not seen."""

    ensemble: Ensemble
    seen: BoolArray
    """(W, y, x) the pixels that took part."""
    departure: FloatArray
    """(B, W, y, x) their departure from temporal interpolation at held-out pixels, in standard deviations."""
    spread: FloatArray
    """(B, W, y, x) standard deviation over the networks, in the same unit."""
    scatter: FloatArray
    """(B, W, y, x) what another of the networks departs from their mean by."""

    def held_out(self, closed: FloatArray, share: float) -> FloatArray:
        """The departure of both, the networks with a share; where these know nothing, that of the closed form."""
        return np.asarray(closed + np.float32(share) * np.where(self.seen, self.departure - closed, np.float32(0)))


def try_networks(coarse: Coarse, problem: Problem, variance: F64Array, how: Training) -> Trial:
    """Train networks on what temporal interpolation leaves, one for each fold that it does not see.

    Parameters
    ----------
    coarse, problem
        The guides at LR, and the date's closed form, whose pixels and folds the networks share.
    variance
        (T, B) of the guides' noise, weighted and standardised: see `regression.solve`.
    how
        Hyperparameters.
    """
    from .training import Task, neighbours, train

    some = _some(problem.chosen, problem.folds, how.seed)
    valid = coarse.valid[:, some]
    guides = np.where(valid[:, None], coarse.guides[:, :, some], np.float32(0))
    standard = problem.standard
    prior = problem.pixels.prior[:, some]
    task = Task(
        guides,
        valid,
        standard.mean,
        standard.scale,
        np.ascontiguousarray(problem.pixels.y[:, some]),
        np.repeat(prior[:, None], guides.shape[1], axis=1),
        variance,
        problem.folds[some],
        neighbours(some),
    )
    ensemble = train(task, how)
    loaded = ensemble.to(how.device)
    parts = [slice(i, i + AT_ONCE) for i in range(0, guides.shape[2], AT_ONCE)]
    images = np.concatenate([loaded.images(guides[:, :, part], valid[:, part]) for part in parts], axis=2)
    departure, spread, scatter = (np.zeros_like(problem.pixels.y) for _ in range(3))
    departure[:, some] = np.take_along_axis(images, task.folds[None, None], axis=0)[0]
    spread[:, some] = images.std(axis=0)
    other = (task.folds + 1) % len(images)
    scatter[:, some] = np.take_along_axis(images, other[None, None], axis=0)[0] - images.mean(axis=0)
    return Trial(ensemble, some, departure, spread, scatter)


def details_power(problem: Problem, image: FloatArray, some: BoolArray) -> float:
    """Sum of squares of what a residual correction leaves of (B, W, y, x): within 2×2 LR pixels of one fold."""
    total = 0.0
    for fold in range(int(problem.folds[some].max(initial=0)) + 1):
        mine = some & (problem.folds == fold)
        part = image * mine
        windows = np.minimum(problem.trust[0], whole_windows(mine))
        total += float((part * weighted_details(part, mine, windows)).sum(dtype=np.float64))
    return total


def gain(problem: Problem, choice: Choice, trial: Trial, share: float) -> float:
    """Share of the closed form's error at held-out pixels that is taken away by following the networks so far.

    A held-out pixel is known to one network alone, which scatters about the mean of all that will predict; the power of
    this scatter is taken off.
    """
    y = problem.pixels.y
    closed = problem.held_out(choice)
    before = details_power(problem, y - closed, trial.seen)
    after = details_power(problem, y - trial.held_out(closed, share), trial.seen)
    after -= share**2 * details_power(problem, trial.scatter, trial.seen)
    return 1 - float(np.sqrt(max(after, 0) / before)) if before > 0 else 0.0


def _some(chosen: BoolArray, folds: IntArray, seed: int) -> BoolArray:
    """The chosen pixels; where these are too many, those of some of the windows."""
    count = chosen.reshape(len(chosen), -1).sum(axis=1)
    if count.sum() <= MOST_PIXELS:
        return chosen
    order = np.random.default_rng(seed).permutation(len(chosen))
    kept = order[: max(1, int(np.searchsorted(np.cumsum(count[order]), MOST_PIXELS)))]
    few = np.zeros_like(chosen)
    few[kept] = chosen[kept]
    # Every fold must be there.
    return few if len(np.unique(folds[few])) == len(np.unique(folds[chosen])) else chosen
