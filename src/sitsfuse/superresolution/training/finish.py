"""What makes weights a model: scores on the images held out, the size of its errors, an ONNX export."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from scipy.optimize import nnls

from ...core.arrays import FloatArray
from ...errors import InputError
from ...operators.deviation import local_deviation
from ...operators.updown import up
from ...runtime.files import writing
from ..card import Architecture, ErrorModel
from ..correction import ITERATIONS, corrected
from ..model import Model
from ..network import CARN
from .collection import Collection, lr_version

MOST_JUDGED = 40
"""Images held out that are predicted as a whole."""
SAMPLED = 20_000
"""Pixels of each to which the size of the errors is fitted."""
TOLERANCE = 1e-4
"""Largest difference of the ONNX export from the network, relative to the largest output."""
OPSET = 17
"""Version of ONNX's operators: widely understood."""


@dataclass(frozen=True)
class Scores:
    """How a model did on images that it was not trained on."""

    metrics: dict[str, Any]
    """For the card: PSNR in dB (of the mean over the bands, for a peak of 1) and RMSE per band in reflectance; of
    bicubic interpolation, of the network, and of the network with CARN's residual corrections."""
    errors: ErrorModel
    """Size of the errors of the last of these."""


def judge(model: Model, collection: Collection) -> Scores:
    """Predict the images held out from their LR versions, without noise.

    Parameters
    ----------
    model
        What to judge.
    collection
        The images.
    """
    b = len(collection.bands)
    order, mtfs = tuple(range(b)), (collection.mtf,) * b
    squares = {name: np.zeros(b) for name in ("bicubic", "network", "corrected")}
    count = 0
    rough: list[FloatArray] = []
    wrong: list[FloatArray] = []
    # Evenly from all: those of one site follow each other.
    for image in collection.test[:: math.ceil(len(collection.test) / MOST_JUDGED)]:
        grids, lr, seen = lr_version(image, collection.factor, collection.mtf)
        images = {"bicubic": up(lr, seen, grids)[0]}
        for name, iterations in (("network", 0), ("corrected", ITERATIONS)):
            images[name], ok = corrected(model, lr, seen, grids, order, mtfs, iterations)
        ok &= image.valid
        for name, one in images.items():
            squares[name] += np.square((one - image.values)[:, ok], dtype=np.float64).sum(axis=1)
        count += int(ok.sum())
        spread = up(local_deviation(lr, seen), seen, grids)[0]
        some = np.flatnonzero(ok)[:: max(1, int(ok.sum()) // SAMPLED)]
        rough.append(np.maximum(spread.reshape(b, -1)[:, some], 0))
        wrong.append((images["corrected"] - image.values).reshape(b, -1)[:, some])
    metrics: dict[str, Any] = {"held_out": collection.test_data, "pixels": count}
    mean = {name: total / count for name, total in squares.items()}
    metrics |= {f"psnr_{name}": round(-10 * math.log10(max(m.mean(), 1e-20)), 3) for name, m in mean.items()}
    metrics |= {f"rmse_{name}": [round(math.sqrt(v), 6) for v in m] for name, m in mean.items()}
    return Scores(metrics, error_model(np.concatenate(rough, axis=1), np.concatenate(wrong, axis=1)))


def error_model(spread: FloatArray, error: FloatArray) -> ErrorModel:
    """The size of errors: per band, ``error² ≈ slope² · spread² + floor²`` by non-negative least squares.

    Parameters
    ----------
    spread
        (B, N) local standard deviation of the LR image.
    error
        (B, N) errors of the prediction.
    """
    slopes, floors = [], []
    for s, e in zip(spread.astype(np.float64), error.astype(np.float64), strict=True):
        # In units that make both unknowns of the same order.
        unit = max(float(np.square(s).mean()), 1e-12)
        found, _ = nnls(np.stack([np.square(s) / unit, np.ones_like(s)], axis=1), np.square(e) / unit)
        slopes.append(round(math.sqrt(found[0]), 5))
        floors.append(round(math.sqrt(found[1] * unit), 7))
    return ErrorModel(slope=tuple(slopes), floor=tuple(floors))


def export_onnx(shape: Architecture, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Write a network as ONNX, for images of any size, and see that onnxruntime gives the same.

    Parameters
    ----------
    shape, weights
        The network.
    path
        The file to write.

    Raises
    ------
    InputError
        If the file cannot be written or its output differs.
    """
    network = CARN(shape)
    network.load_state_dict(weights)
    network.eval()
    sample = torch.randn((1, shape.bands, 12, 10), generator=torch.Generator().manual_seed(0))
    axes = {"image": {0: "n", 2: "y", 3: "x"}, "details": {0: "n", 2: "fine_y", 3: "fine_x"}}
    with writing(path), warnings.catch_warnings():
        # The exporter tells of its successor, which wants another large package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (sample,),
            str(path),
            input_names=["image"],
            output_names=["details"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for side in (9, 30):
        image = torch.randn((1, shape.bands, side, side + 3), generator=torch.Generator().manual_seed(side))
        with torch.inference_mode():
            ours = network(image).numpy()
        theirs = session.run(None, {"image": image.numpy()})[0]
        if not np.abs(ours - theirs).max() <= TOLERANCE * max(1.0, np.abs(ours).max()):
            raise InputError(path, "differs from the network in torch", "try another version of torch or onnxruntime")
