"""Data Driven Interpolation: per pixel and band, a weight for every guide, from networks trained at LR."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.arrays import BoolArray, F64Array, FloatArray
from ...core.arrays import Times as Times
from ...core.dates import days
from ...core.grid import GridPair
from ...core.series import geobox, mtf
from ...core.site import group
from ...core.timeline import temporal_weights
from ...errors import InputError as InputError
from ...operators.residual import correct as correct
from ...operators.residual import residual_halo
from ...operators.residual import spread_residual as spread_residual
from ...operators.updown import up_mask as up_mask
from ...runtime.devices import pick_device
from ...stats.ridge import Linear
from ..base import Tile as Tile
from ..base import result as result
from ..shared.calibration import lasting_difference
from ..shared.calibration import local_square as local_square
from ..shared.in_time import temporal_spread as temporal_spread
from ..shared.in_time import weighted_sum as weighted_sum
from . import choice
from .predictor import CHUNK, DDIPredictor
from .uncertainty import Evidence, error_models
from .windows import Windows, read_windows

if TYPE_CHECKING:
    from .network import Ensemble, LoadedEnsemble, Samples


SCREENING = 0.25
"""Share of the training steps after which heads and decays are compared."""
LINEAR_PIXELS = 8000
"""Most LR pixels that the networks' linear cousin is fitted to."""
FEWEST_PIXELS = 50
"""LR pixels below which no network is trained."""


@dataclass(frozen=True)
class DDI:
    """Each pixel of the target is a linear combination of the same pixel at the guides' dates.

    The weights ``w = w0 + f(x)``, per pixel, band and guide, come from an MLP on all guides' reflectances and validity
    flags; ``w0`` are the weights of temporal interpolation over the valid guides, and the last layer starts at 0, so
    that an untrained network is temporal interpolation. It is trained for each date at LR, on the degraded guides
    against those details of the target that a residual correction would not bring, and applied at HR; invalid guides
    carry no weight, which fills their gaps. Then the residual ``r = C_p - P↓`` is added at HR.

    Blocks of LR pixels are held out in turn, one network per fold, and the mean of the networks predicts. The
    held-out pixels choose the head, the weight decay and how far to move from temporal interpolation towards the
    network (`alpha`); guides held out in turn say how much of an LR residual the HR sensor confirms (`strength`).

    The uncertainty is calibrated so that 90 % of the errors lie within 1.645 of it; errors have heavy tails, so the
    largest of them lie further out than those of a normal distribution. Its level comes from the held-out LR pixels of
    the date, less the LR image's noise. Left-out guides say how much larger errors are in HR details than at LR, and
    how much noise guides bring in; what the networks disagree on and the residual around a pixel say where. What the
    two sensors lastingly differ by counts as well; what they differ by on one date does not: nothing shows it. See
    `ddi_uncertainty`.

    References
    ----------
    Michel, Hagolle, Inglada, Vinasco, Assessment of spatio-temporal fusion algorithms between the Sentinel-HR and
    Sentinel-2 (NG) missions, Living Planet Symposium 2022; Michel et al., hal-03643411. Sourced from there: linear
    combination per pixel, weights from an MLP trained at LR for each date, residual correction, gap-filling. The
    architecture, the folds and the choices are ours.
    """

    name: ClassVar[str] = "ddi"
    paper: ClassVar[str] = "Michel et al. 2022 (reconstructed)"
    min_guides: ClassVar[int] = 2

    heads: tuple[str, ...] = ("linear", "softmax")
    """Heads to choose from: linear (free weights), softmax (convex ones). Separate with a comma."""
    decays: tuple[float, ...] = (0.03, 0.3)
    """Weight decays to choose from."""
    folds: int = 4
    """Networks in the ensemble, and folds of held-out pixels."""
    block: int = 3
    """Side of a held-out block, in LR pixels."""
    hidden: tuple[int, ...] = (64, 64)
    """Units per hidden layer."""
    steps: int = 1000
    """Training steps; candidates are compared after a quarter of them."""
    rate: float = 1e-2
    """Largest learning rate of the one-cycle schedule."""
    pixels: int = 40_000
    """Most LR pixels to train on; larger scenes are sampled by windows."""
    strength: float = -1.0
    """Strength of the residual correction, 0 to 1; negative: chosen per band."""
    iterations: int = 2
    """Residual corrections; the second one tightens the match with the target."""
    seed: int = 0
    """Seed of the folds, the networks and the sampling."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if torch sees one."""

    def __post_init__(self) -> None:
        if self.folds < 2 or self.block < 1 or self.steps < 1 or self.pixels < 1 or self.iterations < 0:
            raise ValueError("folds must be ≥ 2, block, steps and pixels ≥ 1, iterations ≥ 0")
        if not self.heads or not self.decays or not self.hidden:
            raise ValueError("needs at least one head, one decay and one hidden layer")

    def halo(self, ratio: float) -> int:
        """The reach of the residual corrections."""
        return max(self.iterations, 1) * residual_halo(ratio)

    def study(self, site: xr.DataTree) -> DDIStudy:
        """The series themselves: every date is trained on windows of its own."""
        return DDIStudy(self, group(site, "guide"), group(site, "target"))

    def train(self, guide: xr.Dataset, target: xr.Dataset, date: np.datetime64) -> DDIPredictor:
        """Train and choose for one date; see `DDIStudy.fit`."""
        times = guide["time"].values
        plain = DDIPredictor(
            guides=times,
            targets=np.array([date], times.dtype),
            mtf=tuple(mtf(target)),
            iterations=self.iterations,
            strength=tuple([1.0 if self.strength < 0 else self.strength] * guide.sizes["band"]),
        )
        pair = GridPair(geobox(guide), geobox(target))
        windows = read_windows(guide, target, date, pair, self.pixels, self.seed)
        usable = 0 if windows is None else int(windows.usable.sum())
        if windows is None or usable < FEWEST_PIXELS:
            return plain
        return self._choose(plain, windows)

    def _choose(self, plain: DDIPredictor, windows: Windows) -> DDIPredictor:
        from .network import Samples
        from .training import Candidate, Task, Training, train

        ok = windows.usable
        offsets = days(plain.guides, plain.targets[0])
        prior = temporal_weights(windows.guide_valid, offsets)
        samples = Samples(
            np.ascontiguousarray(windows.guide[:, :, ok]),
            windows.guide_valid[:, ok],
            np.ascontiguousarray(prior[:, ok]),
        )
        target = np.ascontiguousarray(windows.target[:, ok])
        folds = choice.block_folds(ok, self.folds, self.block, self.seed)[ok]
        device = pick_device(self.device)
        how = Training(self.hidden, self.steps, self.rate, self.seed, device)
        base = np.einsum("tn,tbn->bn", samples.prior, samples.guides)
        strength = (
            choice.confirmed(windows, plain.guides)
            if self.strength < 0
            else np.full(len(target), self.strength, np.float32)
        )

        task = Task(samples, target, folds, choice.neighbours(ok), strength)

        def judge(ensemble: Ensemble) -> choice.Trial:
            return choice.judge(ok, target, base, *_held_out(ensemble.to(device), samples, folds))

        k = int(folds.max()) + 1
        candidates = [Candidate.same(head, decay, k) for head in self.heads for decay in self.decays]
        screen = dataclasses.replace(how, steps=max(1, int(SCREENING * self.steps)))
        trials = [judge(e) for e in train(task, candidates, screen)]
        first, second = choice.pick([t.error for t in trials], [c.heads[0] for c in candidates])
        chosen = [candidates[i] for i in (first, second) if i is not None]
        (ensemble,) = train(task, [chosen[0].alternate(chosen[-1])], how)
        trial = judge(ensemble)
        choices = {
            "head": " + ".join(c.heads[0] for c in chosen),
            "decay": [c.decays[0] for c in chosen],
            "alpha": round(trial.alpha, 4),
            "strength": [round(float(s), 4) for s in strength],
            "held_out_error": {
                f"{c.heads[0]} {c.decays[0]:g}": round(t.error, 5) for c, t in zip(candidates, trials, strict=True)
            },
            "final_error": round(trial.error, 5),
            "temporal_error": round(trial.base_error, 5),
            "training_pixels": int(ok.sum()),
        }
        some = samples.guides[:, :, :CHUNK], samples.valid[:, :CHUNK]
        fine = windows.fine if windows.fine[1].size else some
        weights, fine_spread = _at_hr(ensemble.to(device), fine, offsets, trial.alpha)
        evidence = Evidence(
            ok,
            trial.left,
            _linear_errors(samples, target),
            trial.spread,
            fine_spread,
            weights,
            strength,
            lasting_difference(
                windows.guide, windows.guide_valid, plain.guides, windows.series, windows.series_valid, windows.times
            ),
            windows.details,
        )
        return DDIPredictor(
            plain.guides,
            plain.targets,
            plain.mtf,
            self.iterations,
            tuple(float(s) for s in strength),
            ensemble,
            trial.alpha,
            *error_models(evidence),
            device,
            choices,
        )


@dataclass(frozen=True)
class DDIStudy:
    """The series of a site, on which every date is trained."""

    method: DDI
    guide: xr.Dataset
    target: xr.Dataset

    def fit(self, date: np.datetime64) -> DDIPredictor:
        """Train and choose for one date; where the target lacks it, the LR image is interpolated in time.

        Raises
        ------
        InputError
            If PyTorch is missing or an option names an unknown head or device.
        """
        return self.method.train(self.guide, self.target, date)


def _held_out(
    loaded: LoadedEnsemble, samples: Samples, folds: npt.NDArray[np.intp]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(B, N): each pixel by the network that has not seen it; scatter and standard deviation of the networks."""
    _, b, n = samples.shape
    held, scatter, spread = (np.empty((b, n), np.float32) for _ in range(3))
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        prior = np.ascontiguousarray(samples.prior[:, part])
        each = loaded.predict(samples.guides[:, :, part], samples.valid[:, part], prior)
        k = len(each)
        one, two, three = (np.take_along_axis(each, (folds[None, None, part] + i) % k, axis=0)[0] for i in range(3))
        # Two networks differ by twice the variance of one; their mean keeps 1/k of it.
        held[:, part], scatter[:, part] = one, (two - three) * math.sqrt((1 - 1 / k) / 2) if k > 2 else 0
        spread[:, part] = each.std(axis=0)
    return held, scatter, spread


def _linear_errors(samples: Samples, target: FloatArray) -> npt.NDArray[np.float64]:
    """(B, n) errors of the networks' linear cousin at LR pixels that it is not fitted to, one by one."""
    some = slice(None, None, -(-target.shape[-1] // LINEAR_PIXELS))
    truth = target[:, some]
    return truth - Linear.fit(samples.guides[:, :, some], samples.valid[:, some], truth).held_out


def _at_hr(
    loaded: LoadedEnsemble, fine: tuple[FloatArray, BoolArray], offsets: npt.NDArray[np.float64], alpha: float
) -> tuple[F64Array, FloatArray]:
    """At M HR pixels: (B,) mean sum of the squares of the guides' weights; (B, M) standard deviation of the networks.

    Parameters
    ----------
    fine
        (T, B, M) and (T, M), the guides there, 0 where invalid, and their validity.
    """
    values, valid = fine
    prior = temporal_weights(valid, offsets)
    spread = np.float32(alpha) * loaded.predict(values, valid, prior).std(axis=0)
    weights = prior[:, None] + np.float32(alpha) * (loaded.weights(values, valid, prior) - prior[:, None])
    return (weights.astype(np.float64) ** 2).sum(axis=0).mean(axis=-1), spread
