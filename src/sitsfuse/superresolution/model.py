"""A super-resolution model, loaded: its card, its weights, and what runs it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import Axis, GridPair
from ..errors import InputError, missing_extra
from ..operators.matrices import separable, up_matrix
from ..operators.updown import fill, up, up_mask
from ..runtime.devices import pick_device
from .card import CARD, ONNX, WEIGHTS, Card, one_line, read_card

RUNTIMES = ("auto", "torch", "onnx")
"""What a network can run on."""
NEEDED = {"torch": ("torch", "safetensors"), "onnx": ("onnxruntime",)}
"""Packages that each wants; an extra of its name brings them."""
TRIAL = (11, 13)
"""LR pixels of the image on which a model is tried: odd, so that a network which wants round sizes fails at once."""
AGAIN = "take the model's folder from its source again"

Runner = Callable[[FloatArray], FloatArray]
"""(B, h, w) normalised LR image to (B, grid h, grid w)."""


@dataclass(frozen=True)
class Model:
    """A super-resolution model; pickleable, so that it travels to a cluster's workers."""

    card: Card
    """What it is."""
    weights: Mapping[str, FloatArray] | None
    """For torch; None if onnxruntime runs the model."""
    onnx: bytes | None
    """For onnxruntime."""
    device: str
    """cpu or cuda; auto, for onnxruntime alone."""
    digest: str = ""
    """SHA-256 of the file of weights or the graph."""

    @cached_property
    def run(self) -> Runner:
        """The network, ready to run on several threads."""
        return _onnx_runner(self) if self.weights is None else _torch_runner(self, self.weights)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "run"}

    def predict(
        self, values: FloatArray, valid: BoolArray, grids: GridPair, order: tuple[int, ...]
    ) -> tuple[FloatArray, BoolArray]:
        """The HR image of an LR one, without a residual correction.

        Parameters
        ----------
        values, valid
            (B, y, x) and (y, x) of the LR image; values are read only where valid.
        grids
            The HR and the LR grid.
        order
            Position of each of the network's bands in the image.

        Returns
        -------
        image, valid
            (B, y, x) float32, 0 where invalid, and (y, x): where the LR pixel is.
        """
        card, bands, ok = self.card, list(order), up_mask(valid, grids)
        if not ok.any():
            return np.zeros((len(values), *ok.shape), np.float32), ok
        if card.normalisation.context:
            seen = card.normalisation.apply(values[bands], valid)
        else:
            # A fixed mean in the gaps would be edges to such a network.
            seen = card.normalisation.apply(fill(values, valid)[bands], np.ones_like(valid))
        fine = card.reflectance(self.run(seen))
        at_hr = separable(fine, *(up_matrix(finer(axis, card.grid)) for axis in (grids.y, grids.x)))
        image, _ = up(values, valid, grids)
        image[bands] = at_hr + (image[bands] if card.output == "details" else 0)
        return np.where(ok, image, np.float32(0)), ok


def load_model(folder: str | Path, runtime: str = "auto", device: str = "auto") -> Model:
    """Load a model; nothing in its folder is executed.

    Parameters
    ----------
    folder
        With a card and weights, or a card and an ONNX model.
    runtime
        One of `RUNTIMES`.
    device
        cpu, cuda or auto.

    Raises
    ------
    InputError
        If the card is not right, a file is missing or damaged, or what runs the model is not installed.
    """
    folder = Path(folder)
    card = read_card(folder)
    if runtime == "auto":
        runtime = "torch" if card.architecture is not None and not _missing("torch") else "onnx"
    if runtime == "torch" and card.architecture is None:
        raise InputError(folder, "is not a network of this package: torch cannot run it", "use runtime=onnx")
    for module in _missing(runtime):
        raise missing_extra(runtime, f"{module} (needed to run {folder})")
    path = folder / (WEIGHTS if runtime == "torch" else ONNX)
    if not path.is_file():
        raise InputError(path, "is missing", "copy the whole folder of the model")
    changed = tuple((folder / name).stat().st_mtime_ns for name in (CARD, path.name))
    return _loaded(path, changed, runtime, device)


@lru_cache(maxsize=4)
def _loaded(path: Path, _changed: tuple[int, ...], runtime: str, device: str) -> Model:
    """The model, kept: every date asks for it."""
    card = read_card(path.parent)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({one_line(error)})", "check its permissions") from error
    digest = hashlib.sha256(content).hexdigest()
    if runtime == "torch":
        model = Model(card, _weights(content, path), None, pick_device(device), digest)
    else:
        model = Model(card, None, content, device, digest)
    _try(model, path)
    return model


def _try(model: Model, path: Path) -> None:
    """Run a model on a small image: that shows whether file and card belong together."""
    bands, grid = len(model.card.bands), model.card.grid
    try:
        output = model.run(np.zeros((bands, *TRIAL), np.float32))
    except InputError:
        raise
    except Exception as error:
        raise InputError(path, f"cannot be run ({one_line(error)})", AGAIN) from error
    wanted = (bands, *(grid * n for n in TRIAL))
    if output.shape != wanted:
        problem = f"gives {output.shape} for {(bands, *TRIAL)}, where the card promises {wanted}"
        raise InputError(path, problem, f"correct {CARD}, or take another model")
    if not np.isfinite(output).all():
        raise InputError(path, "gives values that are not numbers", AGAIN)


def _weights(content: bytes, path: Path) -> dict[str, FloatArray]:
    from safetensors.numpy import load

    try:
        return dict(load(content))
    except Exception as error:  # SafetensorError, and what NumPy makes of types that it does not know
        raise InputError(path, f"is damaged ({one_line(error)})", AGAIN) from error


def _torch_runner(model: Model, weights: Mapping[str, FloatArray]) -> Runner:
    from .network import REACH, make_runner

    card = model.card
    if card.architecture is None:
        raise ValueError("weights need an architecture in the card")
    if card.halo < (reach := REACH + card.normalisation.context):
        raise ValueError(f"the card's halo of {card.halo} is less than the network's reach of {reach} LR pixels")
    return make_runner(card.architecture, weights, model.device)


def _onnx_runner(model: Model) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Tiles are what runs in parallel: see `sitsfuse.runtime.threads`.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    choices = {"cpu": ["CPU"], "cuda": ["CUDA"], "auto": ["CUDA", "CPU"]}
    known = onnxruntime.get_available_providers()
    providers = [p for p in (f"{c}ExecutionProvider" for c in choices.get(model.device, [])) if p in known]
    if not providers:
        problem = f"{model.device!r} cannot be used by onnxruntime here"
        raise InputError("`device`", problem, "choose cpu or auto")
    session = onnxruntime.InferenceSession(model.onnx, options, providers)
    name = session.get_inputs()[0].name

    def run(image: FloatArray) -> FloatArray:
        return np.asarray(session.run(None, {name: image[None]})[0][0], np.float32)

    return run


def finer(axis: Axis, grid: int) -> Axis:
    """From the network's grid, the LR grid divided by an integer, to the HR grid."""
    return Axis(axis.ratio / grid, axis.offset, axis.n_hr, axis.n_lr * grid)


def _missing(runtime: str) -> list[str]:
    """Packages that a runtime wants and that are not installed."""
    return [module for module in NEEDED[runtime] if find_spec(module) is None]
