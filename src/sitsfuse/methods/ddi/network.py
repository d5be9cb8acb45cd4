"""The networks of DDI: an ensemble of small MLPs, evaluated together as one batch of matrices."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from ...core.arrays import BoolArray, FloatArray
from ...errors import InputError, missing_extra
from ...runtime.threads import bound

try:
    import torch
except ImportError as error:
    raise missing_extra("torch", "PyTorch (needed by DDI)") from error

bound()

HEADS = ("linear", "softmax")
"""Known heads: free weights, or convex ones (≥ 0, sum 1)."""
SMALLEST_PRIOR = 1e-2
"""Prior weight that the softmax head gives to guides of which temporal interpolation makes no use."""
LARGEST_LOGIT = 60.0
"""Bound of the softmax head's logits: exp of it, and of its opposite, are far from the limits of float32."""
CENTRE = 0.5
"""What the validity flags are centred by."""


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
        logits = log_prior(w0, x[self.t * self.b :] > 0)[:, None] if "softmax" in self.heads else None
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
        each = [head_weights(head, r, w0[:, None], ok[:, None], 0) for head, r in zip(self.heads, raw, strict=True)]
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


def head_weights(head: str, raw: torch.Tensor, prior: torch.Tensor, valid: torch.Tensor, dim: int) -> torch.Tensor:
    """Weights of the guides along ``dim``; with ``raw = 0`` they are (about) the prior. 0 where invalid."""
    if head == "linear":
        return (prior + raw) * valid
    if head == "softmax":
        logits = raw.clamp(-LARGEST_LOGIT, LARGEST_LOGIT) + log_prior(prior, valid)
        # Without any valid guide the softmax is NaN: no weights.
        return torch.softmax(logits, dim).nan_to_num(0.0)
    raise InputError(f"head {head!r}", "is unknown", f"choose among {', '.join(HEADS)}")


def log_prior(prior: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Logarithm of the prior weights, -inf where invalid."""
    return prior.clamp_min(SMALLEST_PRIOR).log().masked_fill(~valid, -torch.inf)
