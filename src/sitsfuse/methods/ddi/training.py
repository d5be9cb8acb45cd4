"""Training of DDI's networks: all folds and all candidates at once.

Each of the K networks of a candidate leaves out one fold of the LR pixels, so that every LR pixel has a prediction
by a network that has not seen it. All candidates (heads, weight decays) share the mini-batches and every matrix
product, which makes one thread as fast as several would be on matrices of this size.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...core.arrays import FloatArray, IntArray
from .network import CENTRE, Ensemble, Samples, head_weights

HUBER = 0.02
"""Error, in standard deviations of the guides, from which the loss grows linearly: clouds that masks miss and abrupt
changes of a few parcels then weigh no more than many small errors."""
LEVEL = 0.03
"""Weight in the loss of what the residual correction will remove: small, but the only guide where it is not known."""
BATCH = (64, 96)
"""Fewest and most windows in a mini-batch; between them a sixteenth of the pixels."""
CHECKS = 15
"""How often training looks at the held-out fold."""
CHECK_WINDOWS = 2048
"""Most held-out windows that it looks at."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt, on N LR pixels of B bands."""

    samples: Samples
    """The guides there."""
    target: FloatArray
    """(B, N) the LR image to predict."""
    folds: IntArray
    """(N,) number of the fold of each pixel, 0 … K - 1."""
    windows: IntArray
    """(M, P) numbers of neighbouring pixels, -1 where there is none."""
    strength: FloatArray
    """(B,) strength of the residual correction that will follow."""


@dataclass(frozen=True)
class Training:
    """How the networks are trained."""

    hidden: tuple[int, ...]
    steps: int
    rate: float
    seed: int
    device: str


@dataclass(frozen=True)
class Candidate:
    """One choice of head and regularisation for each of the K networks."""

    heads: tuple[str, ...]
    decays: tuple[float, ...]

    @staticmethod
    def same(head: str, decay: float, k: int) -> Candidate:
        """All networks alike."""
        return Candidate((head,) * k, (decay,) * k)

    def alternate(self, other: Candidate) -> Candidate:
        """Every second network as in another candidate."""
        pairs = list(
            zip(zip(self.heads, self.decays, strict=True), zip(other.heads, other.decays, strict=True), strict=True)
        )
        mixed = [pair[i % 2] for i, pair in enumerate(pairs)]
        return Candidate(tuple(h for h, _ in mixed), tuple(d for _, d in mixed))

    def only(self, index: int) -> Candidate:
        """One of the networks."""
        return Candidate(self.heads[index : index + 1], self.decays[index : index + 1])


def train(task: Task, candidates: list[Candidate], how: Training) -> list[Ensemble]:
    """Train every candidate's K networks at once.

    Minimises a Huber loss, in units of the guides' standard deviation, with Adam, decoupled weight decay and a
    one-cycle learning rate; each network keeps the state that was best on the fold that it leaves out. The loss is of
    the errors that a residual correction would leave: those within a small window of LR pixels, less their mean. One
    scale up, that is the task: at HR the correction brings the mean over an LR pixel, and the details must be right.

    Parameters
    ----------
    task
        The pixels.
    candidates
        What to train.
    how
        Hyperparameters.

    Returns
    -------
    list of Ensemble
        One per candidate.
    """
    samples = task.samples
    t, b, n = samples.shape
    k, device = int(task.folds.max()) + 1, how.device
    mean, std = _statistics(samples)
    rows = _Rows.make(task, mean, std, device)
    generator = torch.Generator().manual_seed(how.seed)
    layers = _initial_layers(len(candidates), k, (t * b + t, *how.hidden, t * b + b), generator, device)
    parameters = [p for layer in layers for p in layer]
    optimiser = torch.optim.Adam(parameters, lr=how.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=how.rate, total_steps=how.steps)
    decay = torch.tensor([c.decays for c in candidates], device=device)[..., None, None]
    seen = [_among(task.windows, task.folds != i) for i in range(k)]
    held = _held_out(task, k, how.seed)
    batch = int(np.clip(n // 16, *BATCH))
    best = torch.full((len(candidates), k), torch.inf, device=device)
    kept = [p.detach().clone() for p in parameters]
    for step in range(how.steps):
        index = torch.stack([s[torch.randint(len(s), (batch,), generator=generator)] for s in seen]).to(device)
        loss = _losses(layers, rows, index, candidates).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            for weight, _ in layers:
                weight.mul_(1 - schedule.get_last_lr()[0] * decay)
        schedule.step()
        if (step + 1) % max(1, how.steps // CHECKS) == 0 or step + 1 == how.steps:
            with torch.no_grad():
                current = torch.cat([_held_out_loss(layers, rows, i, held[i], candidates) for i in range(k)], dim=1)
                better = current < best
                best = torch.where(better, current, best)
                for old, new in zip(kept, parameters, strict=True):
                    old[better] = new.detach()[better]
    arrays = [p.cpu().numpy() for p in kept]
    out = []
    for c, candidate in enumerate(candidates):
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        stack = tuple(
            (np.ascontiguousarray(w[c].transpose(0, 2, 1)), np.ascontiguousarray(o[c, :, 0])) for w, o in pairs
        )
        out.append(Ensemble(candidate.heads, mean, std, stack))
    return out


@dataclass(frozen=True)
class _Rows:
    """The samples pixel first, as training gathers them."""

    inputs: torch.Tensor  # (N, T*B + T)
    guides: torch.Tensor  # (N, T, B)
    valid: torch.Tensor  # (N, T)
    prior: torch.Tensor  # (N, T)
    target: torch.Tensor  # (N, B)
    scale: torch.Tensor  # (B,)

    strength: torch.Tensor  # (B,)

    @staticmethod
    def make(task: Task, mean: FloatArray, std: FloatArray, device: str) -> _Rows:
        guides, valid = torch.from_numpy(task.samples.guides), torch.from_numpy(task.samples.valid)
        parts = (
            _inputs(guides, valid, mean, std).T,
            guides.permute(2, 0, 1),
            valid.T,
            torch.from_numpy(task.samples.prior).T,
            torch.from_numpy(task.target).T,
            torch.from_numpy(std),
            torch.from_numpy(task.strength),
        )
        return _Rows(*(p.contiguous().to(device) for p in parts))


def _losses(
    layers: list[tuple[torch.Tensor, torch.Tensor]], rows: _Rows, windows: torch.Tensor, candidates: list[Candidate]
) -> torch.Tensor:
    """Mean loss (C, K) of windows (K, m, P) under the networks (C, K)."""
    known = (windows >= 0)[..., None]
    index = windows.clamp_min(0).flatten(1)
    x = rows.inputs[index]
    guides, valid, prior = rows.guides[index], rows.valid[index][..., None], rows.prior[index][..., None]
    t, b = guides.shape[-2:]
    for weight, offset in layers[:-1]:
        x = (x @ weight + offset).relu()
    out = x @ layers[-1][0] + layers[-1][1]
    raw = out[..., : t * b].reshape(*out.shape[:-1], t, b)
    weights = [
        head_weights(head, raw[i, j], prior[j], valid[j], -2)
        for i, c in enumerate(candidates)
        for j, head in enumerate(c.heads)
    ]
    image = (torch.stack(weights).view_as(raw) * guides).sum(-2) + out[..., t * b :] * rows.scale
    error = ((image - rows.target[index]) / rows.scale).view(len(candidates), *windows.shape, b) * known
    corrected = rows.strength * error.sum(-2, keepdim=True) / known.sum(-2, keepdim=True)
    return _huber((error - corrected) * known) + LEVEL * _huber(error)


def _huber(error: torch.Tensor) -> torch.Tensor:
    """Mean over all but the first two dimensions."""
    loss = torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=HUBER)
    return loss.flatten(2).mean(-1)


def _held_out_loss(
    layers: list[tuple[torch.Tensor, torch.Tensor]],
    rows: _Rows,
    fold: int,
    windows: torch.Tensor,
    candidates: list[Candidate],
) -> torch.Tensor:
    """Loss (C, 1) on a fold of the networks that leave it out."""
    own = [(weight[:, [fold]], offset[:, [fold]]) for weight, offset in layers]
    return _losses(own, rows, windows[None].to(rows.inputs.device), [c.only(fold) for c in candidates])


def _inputs(guides: torch.Tensor, valid: torch.Tensor, mean: FloatArray, std: FloatArray) -> torch.Tensor:
    """(T*B + T, N): the guides, standardised and 0 where invalid, and their validity."""
    t, b, n = guides.shape
    centre, scale = (torch.from_numpy(a).to(guides.device)[:, None] for a in (mean, std))
    x = torch.empty((t * b + t, n), device=guides.device)
    standard = x[: t * b].view(t, b, n)
    torch.sub(guides, centre, out=standard)
    standard.div_(scale).mul_(valid[:, None])
    x[t * b :] = valid
    x[t * b :] -= CENTRE
    return x


def _statistics(samples: Samples) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation per band over the valid pixels of all guides."""
    values = [samples.guides[:, band][samples.valid] for band in range(samples.shape[1])]
    mean = np.array([v.mean(dtype=np.float64) for v in values], np.float32)
    std = np.array([v.std(dtype=np.float64) for v in values], np.float32)
    # A constant band has nothing to scale by.
    return mean, np.where(std > 1e-6, std, np.float32(1))


def _initial_layers(
    candidates: int, k: int, sizes: tuple[int, ...], generator: torch.Generator, device: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """He initialisation, the same for all candidates; the last layer is 0, so that training starts at the prior."""
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        if i == len(sizes) - 2:
            weight = torch.zeros((k, n_in, n_out))
        else:
            weight = torch.randn((k, n_in, n_out), generator=generator) * (2 / n_in) ** 0.5
        stack = weight.expand(candidates, -1, -1, -1).clone().to(device).requires_grad_()
        layers.append((stack, torch.zeros((candidates, k, 1, n_out), device=device).requires_grad_()))
    return layers


def _among(windows: IntArray, chosen: npt.NDArray[np.bool_]) -> torch.Tensor:
    """The windows with a chosen pixel; -1 for their other pixels."""
    left = np.where((windows >= 0) & chosen[windows], windows, -1)
    return torch.from_numpy(left[(left >= 0).any(axis=1)])


def _held_out(task: Task, k: int, seed: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    out = []
    for i in range(k):
        windows = _among(task.windows, task.folds == i)
        if len(windows) > CHECK_WINDOWS:
            windows = windows[torch.from_numpy(np.sort(rng.choice(len(windows), CHECK_WINDOWS, replace=False)))]
        out.append(windows)
    return out
