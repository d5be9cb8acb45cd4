"""What DDI knows of a site, whatever the date; and what it learns for a date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, F64Array, FloatArray, Times
from ...core.dates import days
from ...core.site import SiteLayout, group
from ...operators.matrices import down_matrix
from ...stats.noise import TINY, grain_and_noise
from ..shared import anchor as anchoring
from ..shared.calibration import lasting_difference
from .closed import Closed, Problem, penalty_text
from .folds import block_folds
from .hyper import Training
from .leftout import CAUTIONS, SHARES, How, Lesson, choose_caution, judge_networks, leave_out
from .noise import guide_noise
from .predictor import DDIPredictor, Learnt
from .regression import Choice, Standard
from .trial import Trial, gain, try_networks
from .uncertainty import Evidence, error_models
from .windows import Sample, Windows, read_samples, read_windows

FEWEST_PIXELS = 50
"""Clear LR pixels below which nothing is learnt."""
MOST_REGRESSORS = 600
"""Most coefficients per band; above, weights follow fewer principal components or none."""
AXES = 4
"""Principal components of the guides that weights may follow."""
FINE_PIXELS = 1000
"""Most HR pixels of a sample of which the guides are kept."""


@dataclass(frozen=True)
class Options:
    """What of DDI's parameters matters here."""

    folds: int
    block: int
    pixels: int
    strength: float
    iterations: int
    networks: str
    """auto: where guides left out and held-out pixels gain by them; always; or never."""
    training: Training | None
    """How they are trained; None: not at all."""
    seed: int

    @property
    def always(self) -> bool:
        """Whether networks are trained whatever guides left out say."""
        return self.networks == "always"

    @property
    def head(self) -> str:
        """What predicts where no networks do."""
        missing = self.networks != "never" and self.training is None
        return "closed form (no networks without PyTorch)" if missing else "closed form"


@dataclass(frozen=True)
class Facts:
    """What the guides and the LR series tell."""

    windows: Windows
    standard: Standard
    noise: F64Array
    """(T, B) standard deviation of the guides' noise at HR."""
    grain: F64Array
    """(B,) variance, in each guide, of what is white at HR."""
    own: F64Array
    """(B,) the part of it that is no noise of the sensor, and so is in the scene itself."""
    lesson: Lesson
    anchor: anchoring.Anchor
    """What the sensors lastingly see otherwise, and what of a residual is not scene."""
    lasting: F64Array
    """(B,) lasting difference between the sensors that the anchor does not take off."""
    fine: tuple[FloatArray, BoolArray]
    """(T, B, M) and (T, M): guides and their validity at some HR pixels."""

    @property
    def variance(self) -> F64Array:
        """(T, B) of the guides' noise, weighted and standardised: see `regression.solve`."""
        return np.asarray(self.lesson.caution * (self.noise / self.standard.scale) ** 2)


@dataclass(frozen=True)
class DDIStudy:
    """DDI on a site."""

    options: Options
    times: Times
    mtf: tuple[float, ...]
    guide: xr.Dataset
    target: xr.Dataset
    facts: Facts | None
    """None where no LR pixel is covered by a guide."""

    @classmethod
    def of(cls, site: xr.DataTree, options: Options) -> DDIStudy:
        """Read the site's guides on training windows, and see what left-out guides tell."""
        guide, target, layout = group(site, "guide"), group(site, "target"), SiteLayout.of(site)
        mtfs, pair, times = layout.mtf, layout.grids, layout.guides
        windows = read_windows(guide, target, pair, options.pixels, options.seed)
        facts = None
        if windows is not None:
            samples = read_samples(guide, target, pair, windows.places)
            anchor = anchoring.learn(site) if options.strength < 0 else anchoring.Anchor.plain(len(mtfs))
            facts = _facts(windows, samples, times, layout.targets, mtfs, options, anchor)
        return cls(options, times, mtfs, guide, target, facts)

    def fit(self, date: np.datetime64) -> DDIPredictor:
        """Learn and choose for one date; where the target series lacks it, its LR image is interpolated in time."""
        targets = np.array([date], self.times.dtype)
        strength = (1.0 if self.options.strength < 0 else self.options.strength,) * len(self.mtf)
        plain = DDIPredictor(self.times, targets, self.mtf, self.options.iterations, strength)
        if self.facts is None:
            return plain
        anchor = self.facts.anchor
        plain = replace(plain, anchor=anchor, iterations=1 if anchor.differ else plain.iterations)
        target, clear = self.facts.windows.read(self.target, date, anchor)
        chosen = clear & self.facts.windows.coarse.covered
        if np.count_nonzero(chosen) < FEWEST_PIXELS:
            return plain
        return self._learn(plain, self.facts, target, chosen)

    def _learn(self, plain: DDIPredictor, facts: Facts, target: FloatArray, chosen: BoolArray) -> DDIPredictor:
        offsets = days(plain.guides, plain.targets[0])
        folds = block_folds(chosen, self.options.folds, self.options.block, self.options.seed)
        problem = Problem(facts.windows.coarse, facts.standard, target, chosen, offsets, facts.variance, folds)
        choice = problem.choose(facts.variance)
        closed = problem.fit(facts.variance, choice)
        trial, share, gained = None, facts.lesson.share, 0.0
        training = self.options.training
        if training is not None and share > 0:
            trial = try_networks(facts.windows.coarse, problem, facts.variance, training)
            gains = {s: gain(problem, choice, trial, s) for s in SHARES if 0 < s <= share}
            share = max(gains, key=lambda s: gains[s])
            gained = gains[share]
            if gained <= 0 and not self.options.always:
                trial, share, gained = None, 0.0, 0.0
        models = error_models(_evidence(facts, problem, closed, choice, offsets, trial, share, plain.strength))
        learnt = Learnt(closed, *models)
        if training is not None and trial is not None:
            learnt = replace(learnt, ensemble=trial.ensemble, share=share, device=training.device)
        return replace(
            plain,
            learnt=learnt,
            chosen=_choices(facts, problem, choice, share, gained, self.options.head),
        )


def _facts(
    windows: Windows,
    samples: list[Sample],
    times: Times,
    dates: Times,
    mtfs: tuple[float, ...],
    options: Options,
    anchor: anchoring.Anchor,
) -> Facts:
    bands = len(mtfs)
    axes = max(0, min(AXES, MOST_REGRESSORS // (len(times) * (bands + 1) + 1) - 1))
    standard = windows.coarse.standard(axes)
    noise = np.median([guide_noise(s.values, s.valid) for s in samples], axis=0)
    grains = [grain_and_noise(s.values, s.valid) for s in samples]
    grain, sensor = (np.median([g[i] for g in grains], axis=0) for i in (0, 1))
    grids = samples[0].grids
    # Weights of ↓ add up noise in quadrature.
    passed = [np.prod([down_matrix(a, m).power(2).sum(axis=1).mean() for a in (grids.y, grids.x)]) for m in mtfs]
    how = How(mtfs, options.iterations, options.folds, options.block, options.seed, grain, np.array(passed))
    cases = leave_out(samples, times, standard, noise, how)
    lesson = choose_caution(cases, bands)
    if options.training is not None:
        lesson = judge_networks(lesson, cases, options.training, options.always)
    first = samples[0]
    together = first.coarse[:, :, None], first.coarse_valid[:, None], times
    series = first.series[:, :, None], first.series_valid[:, None], dates
    lasting = lasting_difference(*together, *series)
    fine = [_some_pixels(s) for s in samples]
    return Facts(
        windows,
        standard,
        noise,
        grain,
        grain - sensor,
        lesson,
        anchor,
        np.where(np.array(anchor.kinds) == "guides", lasting, 0.0),
        (np.concatenate([v for v, _ in fine], axis=-1), np.concatenate([ok for _, ok in fine], axis=-1)),
    )


def _some_pixels(sample: Sample) -> tuple[FloatArray, BoolArray]:
    """At most `FINE_PIXELS` evenly spread pixels, (T, B, M) and (T, M); 0 where invalid."""
    flat, ok = sample.values.reshape(*sample.values.shape[:2], -1), sample.valid.reshape(len(sample.valid), -1)
    known = np.flatnonzero(ok.any(axis=0))
    known = known[:: max(1, -(-len(known) // FINE_PIXELS))]
    ok = ok[:, known]
    return np.where(ok[:, None], flat[:, :, known], np.float32(0)), ok


def _evidence(
    facts: Facts,
    problem: Problem,
    closed: Closed,
    choice: Choice,
    offsets: F64Array,
    trial: Trial | None,
    share: float,
    strength: tuple[float, ...],
) -> Evidence:
    scale = facts.standard.scale[:, None]
    chosen = problem.chosen
    held = problem.held_out(choice)
    posterior = np.sqrt(((closed.directions @ problem.pixels.x[:, chosen]) ** 2).sum(axis=0))
    spread, fine_spread = posterior * scale, closed.at_hr(*facts.fine, offsets)[1] * scale
    if trial is not None:
        held = trial.held_out(held, share)
        scatter = trial.ensemble.to("cpu").departure(*facts.fine)[1]
        spread = np.hypot((1 - share) * spread, share * scale * trial.spread[:, chosen])
        fine_spread = np.hypot((1 - share) * fine_spread, share * scatter)
    grain = np.broadcast_to(facts.grain, facts.noise.shape)
    return Evidence(
        chosen,
        scale * (problem.pixels.y - held)[:, chosen],
        spread.astype(np.float32),
        fine_spread.astype(np.float32),
        np.array(strength, np.float32),
        facts.anchor.noise.sum(axis=0),
        facts.lasting,
        # Networks spread their weights about as the closed form does.
        facts.own + problem.passed(closed.beta, grain),
        facts.lesson.growth,
        np.clip(1 - choice.error, 0, 1) * facts.anchor.differ,
    )


def _choices(facts: Facts, problem: Problem, choice: Choice, share: float, gained: float, head: str) -> dict[str, Any]:
    lesson = facts.lesson
    power = problem.all.power
    before = float(power.sum() / max(problem.all.pixels, 1) / len(power))
    left = float(choice.error @ power / max(power.sum(), TINY))
    return {
        "head": "closed form + networks" if share else head,
        "penalty": penalty_text(choice.penalty),
        "held_out_error": {penalty_text(p): round(e, 4) for p, e in zip(choice.tried, choice.errors, strict=True)},
        "caution": lesson.caution,
        "left_out_error": {f"{c:g}": e for c, e in zip(CAUTIONS, lesson.errors, strict=False)},
        "networks": share,
        "networks_left_out_error": {f"{s:g}": e for s, e in zip(SHARES, lesson.network_errors, strict=False)},
        "networks_held_out_gain": round(gained, 4),
        **facts.anchor.choices,
        "final_error": round(float(np.sqrt(before * left)) * (1 - max(gained, 0)), 5),
        "temporal_error": round(float(np.sqrt(before)), 5),
        "training_pixels": int(np.count_nonzero(problem.chosen)),
    }
