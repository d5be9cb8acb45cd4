"""Draw the gallery of docs/: every method on one date of one simulated site, and cases in which fusion fails.

    python examples/gallery.py docs/images/methods

takes two or three minutes on two cores.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import sitsfuse
from sitsfuse.core.site import group, make_site
from sitsfuse.drawing.stretch import Stretch, absolute_error
from sitsfuse.methods import METHODS

SCENE: dict[str, Any] = {"size": 150, "seed": 7, "guides": 9, "targets": 8}
WORST = 0.03
"""Error at which the scale ends, in reflectance."""


def clearest(series: xr.Dataset) -> np.datetime64:
    """The date with the most valid pixels."""
    date: np.datetime64 = series["time"].values[int(np.argmax(series["valid"].mean(("y", "x")).values))]
    return date


def draw(path: Path, seen: xr.Dataset, fused: xr.Dataset, truth: xr.Dataset, name: str) -> None:
    """LR image, prediction, truth and absolute error of one date."""
    error = absolute_error(fused, truth)
    stretch = Stretch.of(truth)
    figure = Figure(figsize=(9, 2.35), dpi=90, layout="constrained")
    axes = figure.subplots(1, 4)
    rmse = float(np.sqrt(np.nanmean((fused["reflectance"] - truth["reflectance"]).values ** 2)))
    for ax, (title, image) in zip(axes, (("LR image", seen), (name, fused), ("truth", truth)), strict=False):
        ax.imshow(stretch(image), interpolation="nearest")
        ax.set_title(title, fontsize=10, loc="left")
    shown = axes[3].imshow(error, cmap="cividis", vmin=0, vmax=WORST, interpolation="nearest")
    axes[3].set_title(f"abs. error, RMSE {rmse:.4f}", fontsize=10, loc="left")
    figure.colorbar(shown, ax=axes[3], extend="max", shrink=0.8).ax.tick_params(labelsize=7)
    for ax in axes:
        ax.set(xticks=[], yticks=[], facecolor="0.75")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, pil_kwargs={"quality": 72, "method": 6})
    print(f"{path}: RMSE {rmse:.4f}", flush=True)


def predict(site: xr.DataTree, method: str, date: np.datetime64, path: Path, title: str | None = None) -> None:
    """Fuse one date, and draw it."""
    fused = sitsfuse.fuse(site, method=method, dates=[date])
    assert isinstance(fused, xr.Dataset)
    seen, truth = (group(site, role).sel(time=date).compute() for role in ("target", "reference"))
    draw(path, seen, fused.isel(time=0), truth, title or method)


def main(folder: Path) -> None:
    """All methods, then the failures."""
    site = sitsfuse.simulate(**SCENE)
    date = clearest(group(site, "target"))
    for method in METHODS:
        predict(site, method, date, folder / f"{method.replace('+', '-')}.webp")
    guide, target, truth = (group(site, role) for role in ("guide", "target", "reference"))
    far = np.abs(guide["time"].values - date) > np.timedelta64(60, "D")
    predict(make_site(guide.isel(time=far), target, truth), "difference", date, folder / "fails-gap.webp")
    dirty = sitsfuse.simulate(**SCENE, cloud_cover=0.4, missed_clouds=0.3)
    predict(dirty, "difference", clearest(group(dirty, "target")), folder / "fails-clouds.webp")
    hazy = target.copy()
    when = list(target["time"].values).index(date)
    veil = np.zeros(target["reflectance"].shape, np.float32)
    veil[when, :, :, : target.sizes["x"] // 2] = 0.03
    hazy["reflectance"] = target["reflectance"] + veil
    predict(make_site(guide, hazy, truth), "difference", date, folder / "fails-haze.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("gallery"))
