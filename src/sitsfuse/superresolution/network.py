"""CARN, the cascading residual network: from LR details to HR details on an integer multiple of the LR grid."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping

import numpy as np
from torch import nn
from torch.nn import functional

from ..core.arrays import FloatArray
from ..errors import missing_extra
from ..runtime.threads import bound
from .card import Architecture

try:
    import torch
except ImportError as error:
    raise missing_extra("torch", "PyTorch (needed by CARN)") from error

bound()

CASCADES, BLOCKS = 3, 3
"""Cascading blocks, and uses of the residual block in each."""
SLOPE = 0.2
"""Of the leaky ReLU below 0."""
REACH = 1 + 2 * CASCADES * BLOCKS + 1 + 1
"""LR pixels on each side that an HR pixel's details depend on: one for every 3 × 3 convolution."""


class CARN(nn.Module):
    """The details that bicubic interpolation misses, for images of any size.

    ``(N, B, h, w)`` LR images in, ``(N, B, grid h, grid w)`` details out. Three cascading blocks; each uses one
    residual block three times, with grouped convolutions (CARN-M). Then a pixel shuffle, whose few channels a last
    convolution mixes at HR.

    Two things are not in the paper. Nothing in the network adds a constant: given an image less its local mean, it
    gives a constant image no details and a scaled image scaled ones, whatever its weights. And the last layer starts
    at 0: untrained, the prediction is bicubic interpolation.

    References
    ----------
    Ahn, Kang, Sohn, Fast, accurate, and lightweight super-resolution with cascading residual network, ECCV 2018.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        f, tail = shape.features, shape.tail
        self.grid = shape.grid
        self.entry = _conv(shape.bands, f, 3)
        self.cascades = nn.ModuleList(_Cascade(f, shape.groups) for _ in range(CASCADES))
        self.merges = nn.ModuleList(_conv((i + 2) * f, f, 1) for i in range(CASCADES))
        self.expand = _conv(f, tail * shape.grid**2, 3, shape.groups)
        self.exit = _conv(tail, shape.bands, 3)
        nn.init.zeros_(self.exit.weight)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Details of a batch, in the units of the input."""
        x = self.entry(image)
        held = [x]
        for cascade, merge in zip(self.cascades, self.merges, strict=True):
            held.append(cascade(x))
            x = _active(merge(torch.cat(held, 1)))
        details: torch.Tensor = self.exit(_active(functional.pixel_shuffle(self.expand(x), self.grid)))
        return details


class _Cascade(nn.Module):
    """One residual block, used again and again; all its outputs so far go into the next one."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        self.first = _conv(features, features, 3, groups)
        self.second = _conv(features, features, 3, groups)
        self.mix = _conv(features, features, 1)
        self.merges = nn.ModuleList(_conv((i + 2) * features, features, 1) for i in range(BLOCKS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = [x]
        for merge in self.merges:
            inner = _active(self.second(_active(self.first(x))))
            held.append(_active(self.mix(inner) + x))
            x = _active(merge(torch.cat(held, 1)))
        return x


def make_runner(
    shape: Architecture, weights: Mapping[str, FloatArray], device: str
) -> Callable[[FloatArray], FloatArray]:
    """A network with given weights, as a function of (B, h, w) arrays.

    Raises
    ------
    ValueError
        If the weights are not those of such a network; names the first that does not fit.
    """
    with torch.device("meta"):  # no memory, no random numbers: the weights are given
        network = CARN(shape)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    for name in [*wanted, *given]:
        if wanted.get(name) != given.get(name):
            what = f"{name} is {given.get(name, 'missing')}, and the card's network has {wanted.get(name, 'none')}"
            raise ValueError(what)
    network.load_state_dict({k: torch.from_numpy(np.array(v, np.float32)) for k, v in weights.items()}, assign=True)
    network = network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    # One tile at a time on a GPU: it holds the activations of one.
    turn = contextlib.nullcontext() if device == "cpu" else threading.Lock()

    @torch.inference_mode()
    def run(image: FloatArray) -> FloatArray:
        with turn:
            x = torch.from_numpy(np.ascontiguousarray(image))[None].to(device)
            details: FloatArray = network(x.contiguous(memory_format=torch.channels_last))[0].cpu().numpy()
        return details

    return run


def _conv(inputs: int, outputs: int, side: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, groups=groups, bias=False)


def _active(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, SLOPE, inplace=True)
