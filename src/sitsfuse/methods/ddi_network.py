"""The network of DDI: an ensemble of small MLPs, trained together as one batch of matrices.

Each of the K networks of a candidate leaves out one fold of the LR pixels, so that every LR pixel has a prediction
by a network that has not seen it. All candidates (heads, weight decays) share the mini-batches and every matrix
product, which makes one thread as fast as several would be on matrices of this size.
"""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError, missing_extra

try:
    import torch
except ImportError as error:
    raise missing_extra("torch", "PyTorch (needed by DDI)") from error

from ..threads import bound

bound()

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

HEADS = ("linear", "softmax")
"""Known heads: free weights, or convex ones (≥ 0, sum 1)."""
SMALLEST_PRIOR = 1e-2
"""Prior weight that the softmax head gives to guides of which temporal interpolation makes no use."""
LARGEST_LOGIT = 60.0
"""Bound of the softmax head's logits: exp of it, and of its opposite, are far from the limits of float32."""
HUBER = 0.02
"""Error, in standard deviations of the guides, from which the loss grows linearly: clouds that masks miss and abrupt
changes of a few parcels then weigh no more than many small errors."""
CENTRE = 0.5
"""What the validity flags are centred by."""
CHECKS = 15
"""How often training looks at the held-out fold."""
CHECK_PIXELS = 4096
"""Most held-out pixels that it looks at."""


@dataclass(frozen=True)
class Samples:
    """LR pixels, pixel last. T guides, B bands, N pixels."""

    guides: FloatArray
    """(T, B, N) degraded guides, 0 where invalid."""
    valid: BoolArray
    """(T, N)."""
    prior: FloatArray
    """(T, N) weights of temporal interpolation."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, B, N."""
        t, b, n = self.guides.shape
        return t, b, n


@dataclass(frozen=True)
class Ensemble:
    """K trained networks."""

    heads: tuple[str, ...]
    """The head of each."""
    mean: FloatArray
    """(B,) by which guides are centred."""
    std: FloatArray
    """(B,) by which they are scaled."""
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    """Per layer: weights (K, out, in) and biases (K, out)."""

    def to(self, device: str) -> LoadedEnsemble:
        """The ensemble on a torch device, ready to predict.

        Centring and scaling are folded into the first layer: with ``z = (F - mean) / std`` where valid and 0 elsewhere,
        ``W z = (W / std) F - (W mean / std) v``.
        """
        b, t = len(self.mean), (self.layers[0][0].shape[-1]) // (len(self.mean) + 1)
        weight, offset = self.layers[0]
        scaled = weight[..., : t * b] / np.tile(self.std, t)
        centre = (scaled * np.tile(self.mean, t)).reshape(*weight.shape[:-1], t, b).sum(-1)
        flags = weight[..., t * b :]
        first = np.concatenate([scaled, flags - centre], axis=-1), offset - CENTRE * flags.sum(-1)
        layers = [
            (
                torch.from_numpy(np.ascontiguousarray(w, np.float32)).to(device),
                torch.from_numpy(o).to(device)[..., None],
            )
            for w, o in (first, *self.layers[1:])
        ]
        return LoadedEnsemble(self.heads, t, b, layers, torch.from_numpy(self.std).to(device)[:, None], device)


@dataclass(frozen=True)
class LoadedEnsemble:
    """An ensemble on a torch device."""

    heads: tuple[str, ...]
    t: int
    b: int
    layers: list[tuple[torch.Tensor, torch.Tensor]]
    scale: torch.Tensor
    device: str

    @torch.inference_mode()
    def predict(self, guides: FloatArray, valid: BoolArray, prior: FloatArray) -> FloatArray:
        """Every network's image.

        Parameters
        ----------
        guides, valid, prior
            As in `Samples`, of n pixels; invalid guides are not read.

        Returns
        -------
        images
            (K, B, n) float32.
        """
        x, w0 = self._load(guides, valid, prior)
        image, out = x[: self.t * self.b].view(self.t, self.b, -1), self._forward(x)
        n = out.shape[-1]
        images = torch.empty((len(self.heads), self.b, n), device=self.device)
        logits = _log_prior(w0, x[self.t * self.b :] > 0)[:, None] if "softmax" in self.heads else None
        for i, head in enumerate(self.heads):
            raw = out[i, : self.t * self.b].view(self.t, self.b, n)
            if head == "linear" or logits is None:
                # Guides are 0 where invalid, so their weights need no mask here.
                torch.sum(raw.add_(w0[:, None]).mul_(image), 0, out=images[i])
            else:
                power = raw.clamp_(-LARGEST_LOGIT, LARGEST_LOGIT).add_(logits).exp_()
                total = power.sum(0)
                torch.sum(power.mul_(image), 0, out=images[i])
                images[i].div_(total).nan_to_num_(0.0)
            images[i] += out[i, self.t * self.b :] * self.scale
        return images.cpu().numpy()

    @torch.inference_mode()
    def weights(self, guides: FloatArray, valid: BoolArray, prior: FloatArray) -> FloatArray:
        """Mean over the networks of the weights, (T, B, n) float32; 0 for invalid guides."""
        x, w0 = self._load(guides, valid, prior)
        raw = self._forward(x)[:, : self.t * self.b].reshape(len(self.heads), self.t, self.b, -1)
        ok = x[self.t * self.b :].bool()
        each = [_head(head, r, w0[:, None], ok[:, None], 0) for head, r in zip(self.heads, raw, strict=True)]
        mean: FloatArray = torch.stack(each).mean(0).cpu().numpy()
        return mean

    def _load(self, guides: FloatArray, valid: BoolArray, prior: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
        """The networks' input: guides, 0 where invalid, and validity; and the prior weights."""
        n = guides.shape[-1]
        x = _scratch("input", (self.t * self.b + self.t, n), "cpu")
        array = x.numpy()
        array[:] = 0
        np.copyto(array[: self.t * self.b].reshape(self.t, self.b, n), guides, where=valid[:, None])
        array[self.t * self.b :] = valid
        return x.to(self.device), torch.from_numpy(prior).to(self.device)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        """(K, T*B + B, n): the last layer's output, in memory that the next call on this thread uses again."""
        (w1, o1), *hidden, (w3, o3) = self.layers
        k, units, n = *w1.shape[:2], x.shape[-1]
        # The first layer of all networks sees the same input: one tall matrix.
        flat = _scratch("layer 0", (k * units, n), self.device)
        torch.addmm(o1.reshape(-1, 1), w1.reshape(-1, w1.shape[-1]), x, out=flat)
        h = flat.relu_().view(k, units, n)
        for i, (weight, offset) in enumerate(hidden, 1):
            h = torch.baddbmm(
                offset, weight, h, out=_scratch(f"layer {i}", (k, weight.shape[1], n), self.device)
            ).relu_()
        return torch.baddbmm(o3, w3, h, out=_scratch("output", (k, w3.shape[1], n), self.device))


_MEMORY = threading.local()


def _scratch(name: str, shape: tuple[int, ...], device: str) -> torch.Tensor:
    """Memory that a thread uses again and again: fresh memory for every chunk costs more time than the products."""
    held: dict[tuple[str, str], torch.Tensor] = _MEMORY.__dict__.setdefault("held", {})
    size = math.prod(shape)
    if (name, device) not in held or held[name, device].numel() < size:
        held[name, device] = torch.empty(size, device=device)
    return held[name, device][:size].view(shape)


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


def train(
    samples: Samples, target: FloatArray, folds: npt.NDArray[np.intp], candidates: list[Candidate], how: Training
) -> list[Ensemble]:
    """Train every candidate's K networks at once.

    Minimises a Huber loss against the target in units of the guides' standard deviation, with Adam, decoupled weight
    decay and a one-cycle learning rate; each network keeps the state that was best on the fold that it leaves out.

    Parameters
    ----------
    samples
        The LR pixels.
    target
        (B, N) the LR image to predict.
    folds
        (N,) number of the fold of each pixel, 0 … K - 1.
    candidates
        What to train.
    how
        Hyperparameters.

    Returns
    -------
    list of Ensemble
        One per candidate.
    """
    t, b, n = samples.shape
    k, device = int(folds.max()) + 1, how.device
    mean, std = _statistics(samples)
    rows = _Rows.make(samples, target, mean, std, device)
    generator = torch.Generator().manual_seed(how.seed)
    layers = _initial_layers(len(candidates), k, (t * b + t, *how.hidden, t * b + b), generator, device)
    parameters = [p for layer in layers for p in layer]
    optimiser = torch.optim.Adam(parameters, lr=how.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=how.rate, total_steps=how.steps)
    decay = torch.tensor([c.decays for c in candidates], device=device)[..., None, None]
    seen = [torch.from_numpy(np.flatnonzero(folds != i)) for i in range(k)]
    held = _held_out(folds, k, how.seed)
    batch = int(np.clip(n // 8, 128, 256))
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

    @staticmethod
    def make(samples: Samples, target: FloatArray, mean: FloatArray, std: FloatArray, device: str) -> _Rows:
        guides, valid = torch.from_numpy(samples.guides), torch.from_numpy(samples.valid)
        parts = (
            _inputs(guides, valid, mean, std).T,
            guides.permute(2, 0, 1),
            valid.T,
            torch.from_numpy(samples.prior).T,
            torch.from_numpy(target).T,
            torch.from_numpy(std),
        )
        return _Rows(*(p.contiguous().to(device) for p in parts))


def _losses(
    layers: list[tuple[torch.Tensor, torch.Tensor]], rows: _Rows, index: torch.Tensor, candidates: list[Candidate]
) -> torch.Tensor:
    """Mean Huber loss (C, K) of the pixels ``index`` (K, n) under the networks (C, K)."""
    x = rows.inputs[index]
    guides, valid, prior = rows.guides[index], rows.valid[index][..., None], rows.prior[index][..., None]
    t, b = guides.shape[-2:]
    for weight, offset in layers[:-1]:
        x = (x @ weight + offset).relu()
    out = x @ layers[-1][0] + layers[-1][1]
    raw = out[..., : t * b].reshape(*out.shape[:-1], t, b)
    weights = [
        _head(head, raw[i, j], prior[j], valid[j], -2)
        for i, c in enumerate(candidates)
        for j, head in enumerate(c.heads)
    ]
    image = (torch.stack(weights).view_as(raw) * guides).sum(-2) + out[..., t * b :] * rows.scale
    error = (image - rows.target[index]) / rows.scale
    return torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=HUBER).mean((-2, -1))


def _held_out_loss(
    layers: list[tuple[torch.Tensor, torch.Tensor]],
    rows: _Rows,
    fold: int,
    index: torch.Tensor,
    candidates: list[Candidate],
) -> torch.Tensor:
    """Loss (C, 1) on a fold of the networks that leave it out."""
    own = [(weight[:, [fold]], offset[:, [fold]]) for weight, offset in layers]
    where = index[None].to(rows.inputs.device)
    return _losses(own, rows, where, [c.only(fold) for c in candidates])


def _head(head: str, raw: torch.Tensor, prior: torch.Tensor, valid: torch.Tensor, dim: int) -> torch.Tensor:
    """Weights of the guides along ``dim``; with ``raw = 0`` they are (about) the prior. 0 where invalid."""
    if head == "linear":
        return (prior + raw) * valid
    if head == "softmax":
        logits = raw.clamp(-LARGEST_LOGIT, LARGEST_LOGIT) + _log_prior(prior, valid)
        # Without any valid guide the softmax is NaN: no weights.
        return torch.softmax(logits, dim).nan_to_num(0.0)
    raise InputError(f"head {head!r}", "is unknown", f"choose among {', '.join(HEADS)}")


def _log_prior(prior: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Logarithm of the prior weights, -inf where invalid."""
    return prior.clamp_min(SMALLEST_PRIOR).log().masked_fill(~valid, -torch.inf)


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


def _held_out(folds: npt.NDArray[np.intp], k: int, seed: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    out = []
    for i in range(k):
        index = np.flatnonzero(folds == i)
        if index.size > CHECK_PIXELS:
            index = np.sort(rng.choice(index, CHECK_PIXELS, replace=False))
        out.append(torch.from_numpy(index))
    return out
