"""The networks of DDI: an ensemble of small MLPs, evaluated together as one batch."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from ...core.arrays import BoolArray, FloatArray
from ...errors import missing_extra

try:
    import torch
except ImportError as error:
    raise missing_extra("torch", "PyTorch (needed by DDI's networks)") from error

from ...runtime.threads import bound

bound()

CENTRE = 0.5
"""What the validity flags are centred by."""
CHUNK = 1 << 11
"""Pixels predicted at once: their activations stay in the processor's cache."""


@dataclass(frozen=True)
class Ensemble:
    """K trained networks.

    Each adds ``sum over t of v_tb (F_tb - mean_tb) + o_b scale_b`` to band b of temporal interpolation, over the valid
    guides; v, the guides' weights beyond those of temporal interpolation, and o are its outputs.
    """

    mean: FloatArray
    """(T, B) by which guides are centred."""
    scale: FloatArray
    """(B,) by which they are scaled."""
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    """Per layer: weights (K, out, in) and biases (K, out)."""

    def to(self, device: str) -> LoadedEnsemble:
        """The ensemble on a torch device, ready to predict."""
        layers = [
            (
                torch.from_numpy(np.ascontiguousarray(w, np.float32)).to(device),
                torch.from_numpy(np.ascontiguousarray(o, np.float32)).to(device)[..., None],
            )
            for w, o in self.layers
        ]
        return LoadedEnsemble(self.mean, self.scale, layers, device)


@dataclass(frozen=True)
class LoadedEnsemble:
    """An ensemble on a torch device."""

    mean: FloatArray
    scale: FloatArray
    layers: list[tuple[torch.Tensor, torch.Tensor]]
    device: str

    def departure(self, values: FloatArray, valid: BoolArray) -> tuple[FloatArray, FloatArray]:
        """What the networks add to temporal interpolation.

        Parameters
        ----------
        values, valid
            (T, B, ...) guides, read only where valid, and (T, ...).

        Returns
        -------
        mean, spread
            (B, ...) float32 over the networks, in reflectance.
        """
        t, b = self.mean.shape
        rest = values.shape[2:]
        n = math.prod(rest)
        flat, ok = values.reshape(t, b, n), valid.reshape(t, n)
        mean, spread = np.empty((b, n), np.float32), np.empty((b, n), np.float32)
        for start in range(0, n, CHUNK):
            part = slice(start, min(start + CHUNK, n))
            images = self.images(flat[:, :, part], ok[:, part])
            mean[:, part], spread[:, part] = images.mean(axis=0), images.std(axis=0)
        scale = self.scale[:, None]
        return (mean * scale).reshape(b, *rest), (spread * scale).reshape(b, *rest)

    @torch.inference_mode()
    def images(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """(K, B, n) what each network adds, in units of the bands' scales."""
        t, b = self.mean.shape
        x = self._load(values, valid)
        out = self._forward(x)
        # Guides are 0 where invalid, so their weights need no mask here.
        raw = out[:, : t * b].view(len(out), t, b, -1)
        added = (raw * x[: t * b].view(t, b, -1)).sum(1) + out[:, t * b :]
        # Where no guide is valid, there is nothing to add.
        return np.where(valid.any(axis=0), added.cpu().numpy(), np.float32(0))

    @torch.inference_mode()
    def weights(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Mean over the networks of what they add to the guides' weights, (T, B, ...); 0 for invalid guides."""
        t, b = self.mean.shape
        rest = values.shape[2:]
        n = math.prod(rest)
        flat, ok = values.reshape(t, b, n), valid.reshape(t, n)
        weights = np.empty((t, b, n), np.float32)
        for start in range(0, n, CHUNK):
            part = slice(start, min(start + CHUNK, n))
            out = self._forward(self._load(flat[:, :, part], ok[:, part]))
            weights[:, :, part] = out[:, : t * b].mean(0).view(t, b, -1).cpu().numpy()
        return np.where(valid[:, None], weights.reshape(t, b, *rest), np.float32(0))

    def _load(self, values: FloatArray, valid: BoolArray) -> torch.Tensor:
        """The networks' input: standardised guides, 0 where invalid, and validity."""
        return torch.from_numpy(inputs(values, valid, self.mean, self.scale)).to(self.device)

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


def inputs(values: FloatArray, valid: BoolArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """(T*B + T, n): guides (T, B, n), standardised and 0 where invalid, and their validity (T, n), centred."""
    t, b, n = values.shape
    x = np.zeros((t * b + t, n), np.float32)
    for k in range(t):
        part = (values[k] - mean[k][:, None]) / scale[:, None]
        np.copyto(x[k * b : (k + 1) * b], part, where=valid[k])
    x[t * b :] = valid
    x[t * b :] -= CENTRE
    return x


_MEMORY = threading.local()


def _scratch(name: str, shape: tuple[int, ...], device: str) -> torch.Tensor:
    """Memory that a thread uses again and again: fresh memory for every chunk costs more time than the products."""
    held: dict[tuple[str, str], torch.Tensor] = _MEMORY.__dict__.setdefault("held", {})
    size = math.prod(shape)
    if (name, device) not in held or held[name, device].numel() < size:
        held[name, device] = torch.empty(size, device=device)
    return held[name, device][:size].view(shape)
