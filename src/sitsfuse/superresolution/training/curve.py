"""The curve of a training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...drawing.figures import require_matplotlib
from ...runtime.files import writing

SIZE = (7.0, 3.2)
"""In inches."""
OURS, THEIRS, GAIN = "#0072b2", "#d55e00", "#009e73"
"""Told apart by every eye."""


def draw_training(history: pd.DataFrame, path: Path) -> None:
    """Draw losses and gain against the step.

    Parameters
    ----------
    history
        Columns ``step``, ``loss``, ``validation_loss`` and ``validation_gain_db``.
    path
        The figure to write; its type is that of the suffix.

    Raises
    ------
    InputError
        If matplotlib is missing or the file cannot be written.
    """
    figure = require_matplotlib()(figsize=SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(history["step"], history["loss"], color=OURS, label="training patches")
    left.plot(history["step"], history["validation_loss"], color=THEIRS, label="patches held out", linestyle="--")
    left.set_ylabel("L1 loss, standard deviations")
    left.legend(frameon=False)
    right.plot(history["step"], history["validation_gain_db"], color=GAIN)
    right.axhline(0, color="0.5", linewidth=0.8)
    right.set_ylabel("gain over bicubic interpolation, dB")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    with writing(path):
        figure.savefig(path, dpi=110)
