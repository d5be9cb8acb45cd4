"""The metrics once more, plainly: whole images in memory, float64, every window as an array of its own."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

TINY = 1e-12
LEVELS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


def plain_ndvi(image, bands):
    red, nir = (image[bands.index(name)].astype(np.float64) for name in ("red", "nir"))
    with np.errstate(all="ignore"):
        return np.where(red + nir > 0, np.clip((nir - red) / (nir + red), -1, 1), np.nan)


def neighbours(valid):
    """Pixels that are valid with their four neighbours."""
    ok = np.pad(valid, 1)
    return valid & ok[2:, 1:-1] & ok[:-2, 1:-1] & ok[1:-1, 2:] & ok[1:-1, :-2]


def slopes(plane):
    """gx, gy of one band; NaN at the border."""
    wide = np.pad(plane.astype(np.float64), 1, constant_values=np.nan)
    return (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2, (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2


def magnitude(image, valid, mode="mean"):
    """Over all bands; NaN where unknown."""
    clean = np.where(valid, image, np.nan)
    gx, gy = (np.stack(part) for part in zip(*(slopes(band) for band in clean), strict=True))
    if mode == "mean":
        gx, gy = gx.mean(axis=0), gy.mean(axis=0)
    else:
        gx, gy = np.sqrt((gx**2).sum(axis=0)), np.sqrt((gy**2).sum(axis=0))
    return np.where(neighbours(valid), np.hypot(gx, gy), np.nan)


def plain_strata(image, valid, usable, mode="mean"):
    """0 unknown, 1 low, 2 between, 3 high; thresholds are those of the usable pixels."""
    steep = magnitude(image, valid, mode)
    some = steep[usable & np.isfinite(steep)]
    if not some.size:
        return np.where(np.isfinite(steep), 2, 0)
    low, high = np.quantile(some, [0.5, 0.75])
    with np.errstate(invalid="ignore"):
        return np.select([np.isnan(steep), steep < low, steep >= high], [0, 1, 3], 2)


def window_maps(p, r, ok, weight, formula):
    """A formula of the windows' moments, at their centres; NaN where a pixel is invalid or missing."""
    out, side = np.full(p.shape, np.nan), len(weight)
    if min(p.shape) < side:
        return out
    a, b = (sliding_window_view(np.where(ok, image, 0).astype(np.float64), (side, side)) for image in (p, r))
    good = sliding_window_view(ok, (side, side)).all(axis=(2, 3))
    ma, mb = ((weight * w).sum(axis=(2, 3), keepdims=True) for w in (a, b))
    va, vb = ((weight * (w - m) ** 2).sum(axis=(2, 3)) for w, m in ((a, ma), (b, mb)))
    cov = (weight * (a - ma) * (b - mb)).sum(axis=(2, 3))
    ma, mb = ma[..., 0, 0], mb[..., 0, 0]
    va, vb = (np.where(v <= TINY * m**2, 0, v) for v, m in ((va, ma), (vb, mb)))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = formula(ma, mb, va, vb, np.where(va * vb > 0, cov, 0))
    centre = side // 2
    out[centre : centre + good.shape[0], centre : centre + good.shape[1]] = np.where(good, found, np.nan)
    return out


def plain_uiqi(p, r, ok):
    def q(mp, mr, vp, vr, cov):
        light = np.where(mp**2 + mr**2 > 0, 2 * mp * mr / (mp**2 + mr**2), 1)
        return light * np.where(vp + vr > 0, 2 * cov / (vp + vr), 1)

    return window_maps(p, r, ok, np.full((8, 8), 1 / 64), q)


def plain_structural(p, r, ok, c):
    def s(_mp, _mr, vp, vr, cov):
        under = np.sqrt(vp * vr) + c
        return np.where(under > 0, (cov + c) / under, (vp == 0) & (vr == 0))

    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weight = np.outer(line, line)
    return window_maps(p, r, ok, weight / weight.sum(), s)


def mean(values):
    return values.mean() if values.size else np.nan


def plain_table(p, r, p_ok, r_ok, clear, bands, sigma=None, mode="mean", ratio=None):
    """{(band, stratum, metric): (value, n)} of a date.

    p, r, sigma: (band, y, x); p_ok, r_ok, clear: (y, x).
    """
    ok = p_ok & r_ok & clear
    strata = plain_strata(r, r_ok, r_ok & clear, mode)
    names = [*bands, *(["ndvi"] if {"red", "nir"} <= set(bands) and "ndvi" not in bands else [])]
    planes = [(p[i], r[i]) for i in range(len(bands))]
    if len(names) > len(bands):
        planes.append((plain_ndvi(p, bands), plain_ndvi(r, bands)))
    maps = []
    for a, b in planes:
        with np.errstate(invalid="ignore"):
            a, b = a.astype(np.float64), b.astype(np.float64)
            good = ok & np.isfinite(a) & np.isfinite(b)
            seen = b[r_ok & clear & np.isfinite(b)]
        spread = np.subtract(*np.quantile(seen, [0.99, 0.01])) if seen.size else 0.0
        windows = plain_uiqi(a, b, good), plain_structural(a, b, good, (0.03 * spread) ** 2 / 2)
        maps.append((a, b, good, magnitude(a[None], good), magnitude(b[None], good), *windows))
    out = {}
    for stratum, where in (("all", ok | True), ("low", strata == 1), ("high", strata == 3)):
        pooled = {}
        for name, (a, b, good, *derived) in zip(names, maps, strict=True):
            parts = {"e": (a - b)[good & where], "b": b[good & where]}
            parts |= {
                key: image[where & np.isfinite(image)]
                for key, image in zip(("ga", "gb", "q", "s"), derived, strict=True)
            }
            if sigma is not None and name in bands:
                dev = sigma[bands.index(name)].astype(np.float64)
                known = good & where & (dev >= 0)
                parts |= {"sure": (a - b)[known], "dev": dev[known]}
            if name in bands:
                for key, values in parts.items():
                    pooled.setdefault(key, []).append(values)
            tell(out, name, stratum, parts, 2.0 if name == "ndvi" else 1.0)
        tell(out, "all", stratum, {k: np.concatenate(v) for k, v in pooled.items()}, 1.0, len(bands))
        if len(bands) > 1:
            out["all", stratum, "sam"] = angle(p[:, ok & where], r[:, ok & where])
        if ratio is not None:
            pairs = zip(pooled["e"], pooled["b"], strict=True)
            each = [np.mean(e**2) / np.mean(b) ** 2 if e.size else np.nan for e, b in pairs]
            out["all", stratum, "ergas"] = 100 / ratio * np.sqrt(np.mean(each)), pooled["e"][0].size
    return out


def angle(p, r):
    p, r = p.astype(np.float64), r.astype(np.float64)
    norms = np.linalg.norm(p, axis=0) * np.linalg.norm(r, axis=0)
    cosine = (p * r).sum(axis=0)[norms > 0] / norms[norms > 0]
    return mean(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), cosine.size


def tell(out, name, stratum, parts, value_range, share=1):
    e = parts["e"]
    mse = mean(e**2)
    values = {
        "rmse": np.sqrt(mse),
        "mae": mean(np.abs(e)),
        "bias": mean(e),
        "ce90": np.quantile(np.abs(e), 0.9) if e.size else np.nan,
        "ce99": np.quantile(np.abs(e), 0.99) if e.size else np.nan,
        "psnr": np.inf if mse == 0 else 10 * np.log10(value_range**2 / mse),
    }
    for metric, value in values.items():
        out[name, stratum, metric] = value, e.size // share
    out[name, stratum, "uiqi"] = mean(parts["q"]), parts["q"].size // share
    out[name, stratum, "structural"] = mean(parts["s"]), parts["s"].size // share
    known = parts["ga"].size > 1 and parts["ga"].std() > 0 and parts["gb"].std() > 0
    correlation = np.corrcoef(parts["ga"], parts["gb"])[0, 1] if known else np.nan
    out[name, stratum, "gradient_correlation"] = correlation, parts["ga"].size // share
    if "dev" in parts:
        for level in LEVELS:
            bound = NormalDist().inv_cdf((1 + level / 100) / 2) * parts["dev"]
            out[name, stratum, f"coverage{level}"] = mean(np.abs(parts["sure"]) <= bound), parts["dev"].size // share
        width = 2 * NormalDist().inv_cdf(0.95) * mean(parts["dev"])
        out[name, stratum, "sharpness"] = width, parts["dev"].size // share
