"""Training of super-resolution networks: images in, a model's folder out.

While it is trained, a folder holds but a hidden one: the checkpoint, then the model's files, which move up when all are
there, the card last. So a run may be killed at any moment, and a folder with a card is a model.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ...core.options import altered
from ...errors import InputError, missing_extra
from ...runtime.claims import Kind, check_ours, claim
from ...runtime.files import jsonable, writing
from ...runtime.progress import Progress, silent
from ...version import __version__
from ..card import CARD, ONNX, WEIGHTS, Architecture, Card, Normalisation, read_card, write_card
from .checkpoint import CHECKPOINT, record_of
from .collection import Collection
from .config import TrainingConfig
from .curve import draw_training
from .images import BANDS, Source, collect
from .pairs import Degradation, Pairs, patch_side

if TYPE_CHECKING:
    from .loop import Trained


__all__ = ["TrainingConfig", "train"]

STATE = ".training"
"""Folder within a model's, while it is trained."""
HISTORY, CURVES = "training.csv", "training.png"
"""The curve of a training, as a table and as a figure."""
FILES = (WEIGHTS, ONNX, HISTORY, CURVES, CARD)
"""All that a model's folder holds; with the last of them the model is there."""
NEEDED = {
    "torch": "torch",
    "safetensors": "torch",
    "tomli_w": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "matplotlib": "report",
}
"""Packages that a training will use, and the extras that bring them: better missed before than after."""
UNSTATED = "not stated; follows that of the training images"
"""Licence of a model of which nothing is said."""
FLAT = 1e-6
"""A band varies if its standard deviation is more than this share of its largest value."""


def train(
    sources: Source | Sequence[Source],
    out: str | Path,
    *,
    factor: float | None = None,
    target: str = "target",
    bands: str = BANDS,
    name: str | None = None,
    licence: str = UNSTATED,
    config: TrainingConfig | None = None,
    overwrite: bool = False,
    reading: Mapping[str, Any] | None = None,
    report: Progress = silent,
    **changes: Any,
) -> Path:
    """Train a CARN on HR images and their own degraded versions, or on the pairs of a SEN2VENµS archive.

    Of a site only the guides are used. Held out, to choose the best weights and to judge them, are every fifth place
    where there are three or more, else every fifth date where there are three or more, else the eastern columns; of an
    archive, whole sites. On as many cores of the same machine the same images and options give the same weights to the
    last bit, also where a training was interrupted and taken up again.

    Parameters
    ----------
    sources
        Sites, HR series or folders of such, or one SEN2VENµS archive.
    out
        The folder to write: card, weights, ONNX export, training curve. A second run resumes.
    factor
        LR pixel size over HR pixel size; by default that of the sites, or of the archive's pairs.
    target
        Name of the target series in sites, which tells the factor and the MTF to judge with.
    bands
        Group of bands of a SEN2VENµS archive.
    name
        Of the model; by default that of the folder.
    licence
        Of the model.
    config
        The options; the defaults if None.
    overwrite
        Whether to start anew where there is a model or a part of one.
    reading
        How to read files of other makers: options of :func:`sitsfuse.open_series`.
    report
        Called as the work proceeds.
    **changes
        Options that differ from ``config``, by name.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    InputError
        If input or options are unfit, a package is missing, or ``out`` holds something else.
    """
    for module, extra in NEEDED.items():
        if find_spec(module) is None:
            raise missing_extra(extra, f"{module} (needed to train)")
    from ...runtime.devices import pick_device
    from ..network import REACH
    from .loop import train_network

    folder = Path(out)
    options = altered(config or TrainingConfig(), changes, "a training")
    options = dataclasses.replace(options, device=pick_device(options.device))
    kind = _kind({"name": name, "licence": licence})
    check_ours(folder, kind, overwrite)
    given = [sources] if isinstance(sources, str | Path | xr.DataTree | xr.Dataset) else list(sources)
    report("reading", 0, 1)
    images = collect(given, factor, target, bands, int(options.pixels * 1e6), options.patch, options.seed, reading)
    report("reading", 1, 1)
    record = _record(options, images) | ({"reading": jsonable(reading)} if reading else {})
    norm, shape = _network(images, options)
    pairs, held = _pairs(images, options, norm)
    with claim(folder, kind, record | {"name": name, "licence": licence}, overwrite, _paths(given)) as resumed:
        if resumed and all((folder / file).is_file() for file in FILES):
            # Here, too, the run before may have been killed.
            shutil.rmtree(folder / STATE, ignore_errors=True)
            return folder
        trained = train_network(shape, pairs, held, options, record, folder / STATE, report)
        report("finishing", 0, 1)
        card = Card(
            name=name or folder.resolve().name,
            bands=images.bands,
            factor=images.factor,
            grid=shape.grid,
            halo=REACH + norm.context,
            output="details",
            normalisation=norm,
            architecture=shape,
            training_data=images.data,
            licence=licence,
            created=datetime.datetime.now(datetime.UTC).date(),
            training=record | {"stopped": trained.stopped, "sitsfuse": __version__},
        )
        _write(folder, card, images, trained)
        report("finishing", 1, 1)
    return folder


def _paths(sources: Sequence[Source]) -> list[str | Path]:
    return [s for s in sources if isinstance(s, str | Path)]


def _record(options: TrainingConfig, images: Collection) -> dict[str, Any]:
    """All that the result of a training depends on, for its card and its checkpoint."""
    count = {"images": len(images.train), "images_held_out": len(images.held), "images_sha256": images.digest()}
    return jsonable(dataclasses.asdict(options) | {"factor": images.factor, "mtf_held_out": images.mtf} | count)


def _kind(own: Mapping[str, Any]) -> Kind:
    """A model's folder; ``own`` is what is asked of its card beside the training. Without a name any will do."""

    def recorded(folder: Path) -> dict[str, Any] | None:
        checkpoint = folder / STATE / CHECKPOINT
        if (folder / CARD).is_file():
            card = read_card(folder)
            return card.training | {"licence": card.licence, "name": card.name if own["name"] else None}
        if checkpoint.is_file():
            return record_of(checkpoint) | dict(own)
        return {} if (folder / STATE).is_dir() else None

    # Elsewhere a training may go on, if not to the last bit.
    return Kind("`sitsfuse train`", recorded, _clear, True, (STATE,), ("device", "stopped", "sitsfuse"))


def _clear(folder: Path) -> None:
    """Remove a model, or a part of one; last what tells a later run whose the rest is."""
    *files, card = FILES
    with writing(folder):
        for file in files:
            (folder / file).unlink(missing_ok=True)
        if (folder / STATE).exists():
            shutil.rmtree(folder / STATE)
        (folder / card).unlink(missing_ok=True)


def _network(images: Collection, options: TrainingConfig) -> tuple[Normalisation, Architecture]:
    """The normalisation, by the training images' standard deviations, and the size of the network."""
    scale = []
    for k in range(len(images.bands)):
        pixels = np.concatenate([i.values[k][i.valid] for i in images.train])
        deviation = float(pixels.std(dtype=np.float64))
        # A constant band has nothing to scale by.
        scale.append(deviation if deviation > FLAT * float(np.abs(pixels).max()) else 1.0)
    shape = Architecture(
        bands=len(images.bands),
        grid=math.ceil(images.factor - 1e-6),
        features=options.features,
        groups=options.groups,
        tail=options.tail,
    )
    return Normalisation(scale=tuple(scale), context=options.context), shape


def _pairs(images: Collection, options: TrainingConfig, norm: Normalisation) -> tuple[Pairs, Pairs]:
    """Patches to learn from, and patches to choose the best weights by, without anything random in the latter."""
    side = patch_side([*images.train, *images.held], images.factor, options.patch)
    random = Degradation(images.factor, options.mtf, options.noise, options.shift)
    plain = Degradation(images.factor, (images.mtf, images.mtf), 0.0, 0.0)
    pairs = Pairs(images.train, random, side, norm, options.seed)
    held = Pairs(images.held, plain, side, norm, options.seed + 1)
    for one in (pairs, held):
        if not one.draw(range(options.batch)).valid.any():
            mend = "give images whose masks leave larger gaps"
            raise InputError("training", "finds no LR pixel that is clear all over", mend)
    return pairs, held


def _write(folder: Path, card: Card, images: Collection, trained: Trained) -> None:
    """The files of the model, made in the state's folder and moved up when all are there."""
    from safetensors.torch import save

    from ..model import Model
    from .finish import export_onnx, judge

    assert card.architecture is not None
    draft = folder / STATE
    with writing(draft):
        # Not save_file, whose files are closed to others.
        (draft / WEIGHTS).write_bytes(save(trained.weights))
    export_onnx(card.architecture, trained.weights, draft / ONNX)
    history = pd.DataFrame(trained.history)
    with writing(draft):
        history.to_csv(draft / HISTORY, index=False)
    draw_training(history, draft / CURVES)
    scores = judge(Model(card, {k: v.numpy() for k, v in trained.weights.items()}, None, "cpu"), images)
    write_card(card.model_copy(update={"metrics": scores.metrics, "errors": scores.errors}), draft)
    with writing(folder):
        for file in FILES:
            (draft / file).replace(folder / file)
        shutil.rmtree(draft)
