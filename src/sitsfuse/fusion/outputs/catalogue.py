"""What STAC is told of a date of an output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.channels import Channel
from ...writers.geotiff import INT16_NODATA, INT16_SCALE
from ...writers.stac import Asset, Item
from .layout import CODES, Layout


def item_of(layout: Layout, date: int, record: Mapping[str, Any], *, int16: bool) -> Item:
    """The item of a date.

    Parameters
    ----------
    layout
        What the output holds.
    date
        Position of the date in it.
    record
        What is known of the date: guides, LR images, shares of pixels.
    int16
        Whether images are integers × 1e-4.
    """
    day = str(layout.times[date])[:10].replace("-", "")
    method, guides, targets = (
        str(layout.config.get("method", "")),
        record.get("guides", []),
        record.get("targets", []),
    )
    return Item(
        day=day,
        time=layout.times[date],
        box=layout.box,
        assets=_assets(layout, day, int16),
        version=str(layout.config.get("version", "")),
        lineage=f"Predicted by {method} from guides of {', '.join(guides) or 'no date'} and low-resolution images of "
        f"{', '.join(targets) or 'no date'}.",
        properties={
            "sitsfuse:method": method,
            "sitsfuse:guides": guides,
            "sitsfuse:targets": targets,
            "sitsfuse:interpolated": layout.interpolated[date],
            **{f"sitsfuse:{name}": record[name] for name in ("valid_share", "filled_share") if name in record},
        },
    )


def _assets(layout: Layout, day: str, int16: bool) -> tuple[Asset, ...]:
    dtype, nodata, scale = ("int16", INT16_NODATA, INT16_SCALE) if int16 else ("float32", "nan", 1.0)
    assets = [
        Asset("image", f"{day}.tif", "Fused image", ("data",), layout.channels, dtype, nodata, scale),
        Asset(
            "uncertainty", f"{day}_uncertainty.tif", "One standard deviation of the error", ("data", "uncertainty"),
            layout.channels, dtype, nodata, scale, suffix="_uncertainty",
        ),
        Asset(
            "mask", f"{day}_mask.tif", "Valid, invalid and filled pixels", ("data-mask",), (Channel("mask"),), "uint8",
            classes=CODES,
        ),
    ]  # fmt: skip
    if layout.weights:
        bands = tuple(Channel(name) for name in layout.weight_bands)
        assets.append(
            Asset("weights", f"{day}_weights.tif", "Weights of the guides", ("metadata",), bands, "float32", "nan")
        )
    return tuple(assets)
