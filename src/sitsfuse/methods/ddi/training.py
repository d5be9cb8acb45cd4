"""Training of DDI's networks, all folds at once.

Each of the K networks leaves out one fold of the LR pixels, so that every LR pixel has a prediction by a network that
has not seen it. The last layer starts at 0: an untrained network is temporal interpolation.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from ...core.arrays import BoolArray, F64Array, FloatArray, IntArray
from .hyper import Training
from .network import Ensemble, inputs

HUBER = 0.02
"""Error, in standard deviations of the guides, from which the loss grows linearly: clouds that masks miss and abrupt
changes of a few parcels then weigh no more than many small errors."""
LEVEL = 0.03
"""Weight in the loss of what the residual correction will remove."""
BATCH = (64, 96)
"""Fewest and most windows in a mini-batch; between them a sixteenth of the pixels."""
CHECKS = 12
"""How often training looks at the held-out fold."""
CHECK_WINDOWS = 2048
"""Most held-out windows that it looks at."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt, on N LR pixels: T guides, B bands."""

    guides: FloatArray
    """(T, B, N), read only where valid."""
    valid: BoolArray
    """(T, N)."""
    mean: FloatArray
    """(T, B) by which guides are centred."""
    scale: FloatArray
    """(B,) by which guides, and errors, are scaled."""
    left: FloatArray
    """(B, N) what temporal interpolation leaves, over the scale."""
    weights: FloatArray
    """(T, B, N) weights of temporal interpolation."""
    variance: F64Array
    """(T, B) of the guides' noise, weighted, over the scale squared: see `regression.solve`."""
    folds: IntArray
    """(N,) number of the fold of each pixel, 0 … K - 1."""
    windows: IntArray
    """(M, P) numbers of neighbouring pixels, -1 where there is none."""


def neighbours(usable: BoolArray) -> IntArray:
    """All windows of 2×2 LR pixels that hold a usable one; (M, 4) numbers of usable pixels, -1 for others.

    Parameters
    ----------
    usable
        (W, y, x); its pixels are numbered in this order.
    """
    number = np.full(usable.shape, -1, np.intp)
    number[usable] = np.arange(np.count_nonzero(usable))
    padded = np.pad(number, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 2), axis=(1, 2)).reshape(-1, 4)
    return np.asarray(windows[(windows >= 0).any(axis=1)])


def train(task: Task, how: Training) -> Ensemble:
    """Train the K networks.

    Minimises, with Adam, decoupled weight decay and a one-cycle learning rate, a Huber loss of the errors that a
    residual correction would leave (those within windows of 2×2 LR pixels, less their mean) and the noise of the
    guides as their weights let it pass, ``sum of σ² w²``, as the closed form does. Each network keeps the state that
    was best on the fold that it leaves out.
    """
    t, b, n = task.guides.shape
    k = int(task.folds.max()) + 1
    rows = _Rows.make(task, how.device)
    generator = torch.Generator().manual_seed(how.seed)
    layers = _initial_layers(k, (t * b + t, *how.hidden, t * b + b), generator, how.device)
    parameters = [p for layer in layers for p in layer]
    optimiser = torch.optim.Adam(parameters, lr=how.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=how.rate, total_steps=how.steps)
    seen = [_among(task.windows, task.folds != i) for i in range(k)]
    held = _held_out(task, k, how.seed)
    batch = int(np.clip(n // 16, *BATCH))
    best = torch.full((k,), torch.inf, device=how.device)
    kept = [p.detach().clone() for p in parameters]
    for step in range(how.steps):
        if step % max(1, how.steps // CHECKS) == 0:
            best = _keep_best(layers, rows, held, best, kept)
        index = torch.stack([s[torch.randint(len(s), (batch,), generator=generator)] for s in seen]).to(how.device)
        loss = _losses(layers, rows, index).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            for weight, _ in layers:
                weight.mul_(1 - schedule.get_last_lr()[0] * how.decay)
        schedule.step()
    _keep_best(layers, rows, held, best, kept)
    arrays = [p.cpu().numpy() for p in kept]
    stack = tuple(
        (np.ascontiguousarray(w.transpose(0, 2, 1)), np.ascontiguousarray(o[:, 0]))
        for w, o in zip(arrays[::2], arrays[1::2], strict=True)
    )
    return Ensemble(task.mean, task.scale, stack)


Layers = list[tuple[torch.Tensor, torch.Tensor]]


def _keep_best(
    layers: Layers, rows: _Rows, held: list[torch.Tensor], best: torch.Tensor, kept: list[torch.Tensor]
) -> torch.Tensor:
    with torch.no_grad():
        current = torch.cat([_held_out_loss(layers, rows, i, windows) for i, windows in enumerate(held)])
        better = current < best
        for old, new in zip(kept, (p for layer in layers for p in layer), strict=True):
            old[better] = new.detach()[better]
        return torch.where(better, current, best)


@dataclass(frozen=True)
class _Rows:
    """The samples pixel first, as training gathers them."""

    inputs: torch.Tensor  # (N, T*B + T)
    valid: torch.Tensor  # (N, T)
    left: torch.Tensor  # (N, B)
    weights: torch.Tensor  # (N, T, B)
    noise: torch.Tensor  # (T, B), as it counts in the loss

    @staticmethod
    def make(task: Task, device: str) -> _Rows:
        # Four windows hold a pixel. Huber's loss grows as its limit times the error, a square as the error itself:
        # what weighs noise against errors in squares weighs the same against them at their typical size.
        typical = np.maximum(np.sqrt((task.left.astype(np.float64) ** 2).mean(axis=1)), HUBER)
        noise = task.variance / 4 / 2 * (HUBER / typical)
        parts = (
            inputs(task.guides, task.valid, task.mean, task.scale).T,
            task.valid.T.astype(np.float32),
            task.left.T,
            task.weights.transpose(2, 0, 1),
            noise,
        )
        return _Rows(*(torch.from_numpy(np.ascontiguousarray(p, np.float32)).to(device) for p in parts))


def _losses(layers: Layers, rows: _Rows, windows: torch.Tensor) -> torch.Tensor:
    """Mean loss (K,) of windows (K, m, P) under the K networks."""
    known = (windows >= 0)[..., None]
    index = windows.clamp_min(0).flatten(1)
    x = rows.inputs[index]
    t, b = rows.noise.shape
    guides = x[..., : t * b].view(*x.shape[:-1], t, b)
    h = x
    for weight, offset in layers[:-1]:
        h = (h @ weight + offset).relu()
    out = h @ layers[-1][0] + layers[-1][1]
    raw = out[..., : t * b].view(*out.shape[:-1], t, b)
    added = (raw * guides).sum(-2) + out[..., t * b :]
    error = (added - rows.left[index]).view(*windows.shape, b) * known
    mean = error.sum(-2, keepdim=True) / known.sum(-2, keepdim=True)
    weight = rows.weights[index] + raw * rows.valid[index][..., None]
    noise = (rows.noise * weight**2).sum(-2).mean((-1, -2))
    return _huber((error - mean) * known) + LEVEL * _huber(error) + noise


def _huber(error: torch.Tensor) -> torch.Tensor:
    """Mean over all but the first dimension."""
    loss = torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=HUBER)
    return loss.flatten(1).mean(-1)


def _held_out_loss(layers: Layers, rows: _Rows, fold: int, windows: torch.Tensor) -> torch.Tensor:
    """Loss (1,) on a fold of the network that leaves it out."""
    own = [(weight[[fold]], offset[[fold]]) for weight, offset in layers]
    return _losses(own, rows, windows[None].to(rows.inputs.device))


def _initial_layers(k: int, sizes: tuple[int, ...], generator: torch.Generator, device: str) -> Layers:
    """He initialisation; the last layer is 0, so that training starts at temporal interpolation."""
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        if i == len(sizes) - 2:
            weight = torch.zeros((k, n_in, n_out))
        else:
            weight = torch.randn((k, n_in, n_out), generator=generator) * (2 / n_in) ** 0.5
        layers.append((weight.to(device).requires_grad_(), torch.zeros((k, 1, n_out), device=device).requires_grad_()))
    return layers


def _among(windows: IntArray, chosen: BoolArray) -> torch.Tensor:
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
