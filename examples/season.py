"""Draw the moving picture of README: a season of a simulated site, as the LR sensor sees it and fused.

    python examples/season.py docs/images/season.webp

takes a minute or two on two cores. What is fused is kept in a folder beside the picture, `season/`, unless another one
is given; a second run draws from there.
"""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.dates import DateFormatter, MonthLocator
from matplotlib.figure import Figure
from PIL import Image

import sitsfuse
from sitsfuse.core.site import group
from sitsfuse.drawing.stretch import INVALID, Stretch

SCENE: dict[str, Any] = {"size": 200, "seed": 7, "guides": 11, "targets": 24}
PIXEL = (0.58, 0.66)
"""Where NDVI is read: shares of the scene's width and height."""
INK, MUTED, LR, FUSED = "#1f2933", "#7b8794", "#8a94a0", "#0b6e4f"


def ndvi(series: xr.Dataset, x: float, y: float) -> xr.DataArray:
    """NDVI in the pixel at a place, NaN where the series is invalid."""
    pixel = series.sel(x=x, y=y, method="nearest")
    nir, red = (pixel["reflectance"].sel(band=b) for b in ("nir", "red"))
    return ((nir - red) / (nir + red)).where(pixel["valid"]).compute()


def frame(
    seen: xr.Dataset, fused: xr.Dataset, curves: dict[str, xr.DataArray], stretch: Stretch, now: int
) -> Image.Image:
    """One date: both images with the pixel marked, and the series of its NDVI up to here."""
    date = fused["time"].values[now]
    figure = Figure(figsize=(8, 5.4), dpi=90, facecolor="white")
    x0, x1 = float(fused["x"][0]), float(fused["x"][-1])
    y0, y1 = float(fused["y"][-1]), float(fused["y"][0])
    place = (x0 + PIXEL[0] * (x1 - x0), y1 - PIXEL[1] * (y1 - y0))
    for k, (title, image) in enumerate((("Seen: 25 m, under clouds", seen), ("Fused by sitsfuse: 5 m", fused))):
        axes = figure.add_axes((0.02 + 0.49 * k, 0.32, 0.47, 0.6))
        axes.imshow(stretch(image.isel(time=now)), extent=(x0, x1, y0, y1), interpolation="nearest")
        axes.plot(*place, "o", ms=9, mfc="none", mec="white", mew=1.8)
        axes.set(xticks=[], yticks=[], facecolor=INVALID, xlim=(x0, x1), ylim=(y0, y1))
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    figure.text(0.98, 0.965, str(date)[:10], ha="right", fontsize=11, color=INK, weight="bold")
    axes = figure.add_axes((0.07, 0.08, 0.91, 0.19))
    truth = curves["truth"]
    axes.plot(truth["time"], truth, color=MUTED, lw=1, alpha=0.45)
    for name, style, colour in (("seen", "s", LR), ("fused", "o-", FUSED)):
        part = curves[name].isel(time=slice(0, now + 1))
        axes.plot(part["time"], part, style, color=colour, ms=4, lw=1.4, label=name)
    axes.axvline(date, color=MUTED, lw=0.8)
    axes.set(xlim=(truth["time"].values[0], truth["time"].values[-1]), ylim=(0, 1))
    axes.set_ylabel("NDVI", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MonthLocator())  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%b"))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.text(
        0.005,
        0.06,
        "squares: seen at 25 m · line: fused, at 5 m · thin: truth",
        transform=axes.transAxes,
        fontsize=8,
        color=MUTED,
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def main(picture: Path, folder: Path) -> None:
    """Fuse the season into a folder, and draw it."""
    site = sitsfuse.simulate(**SCENE)
    sitsfuse.fuse(site, folder / "fused.zarr", format="zarr")
    draw(picture, group(site, "target"), sitsfuse.open_series(folder / "fused.zarr"), group(site, "reference"))


def draw(picture: Path, seen: xr.Dataset, fused: xr.Dataset, truth: xr.Dataset) -> None:
    """Write the moving picture of three series of the same dates."""
    x = float(fused["x"].quantile(PIXEL[0]))
    y = float(fused["y"].quantile(1 - PIXEL[1]))
    curves = {"truth": ndvi(truth, x, y), "fused": ndvi(fused, x, y), "seen": ndvi(seen, x, y)}
    stretch = Stretch.of(truth.isel(time=len(truth["time"]) // 2).compute())
    seen, fused = seen.compute(), fused.compute()
    frames = [frame(seen, fused, curves, stretch, k) for k in range(fused.sizes["time"])]
    durations = [600] * (len(frames) - 1) + [2500]
    frames[0].save(picture, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=70, method=6)
    error = np.abs(curves["fused"] - curves["truth"])
    first, last = (str(fused["time"].values[k])[:10] for k in (0, -1))
    print(f"{picture}: {len(frames)} dates, {first} to {last}; NDVI off by {float(error.mean()):.3f}")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("season.webp")
    main(target, Path(sys.argv[2]) if len(sys.argv) > 2 else target.with_suffix(""))
