"""Tiny sites for the tests of methods and engine, made of arrays; quicker and plainer than `simulate`."""

import functools
import math
import tempfile
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import make_series
from sitsfuse.core.site import group, make_site
from sitsfuse.operators.updown import down
from sitsfuse.superresolution.card import WEIGHTS, Architecture, Card, Normalisation, write_card

START = np.datetime64("2020-05-01")
QUICK: dict[str, dict[str, object]] = {"ddi": {"folds": 3, "steps": 10, "hidden": (16,), "device": "cpu"}}
"""Options that make a method quick."""


def prepared(method, tree, date):
    """The predictor of a rehearsed method, before its uncertainty is calibrated."""
    plain = method.examine(tree, method.describe(group(tree, "guide")))
    return plain.prepare(date, group(tree, "target"))


class Watched:
    """A study of which a test replaces `fit` by a function of the study and the date."""

    def __init__(self, study, fit):
        self.study, self.function = study, fit

    def fit(self, date):
        """What the function makes of it."""
        return self.function(self.study, date)


def boxes(n=60, ratio=5.0, offset=(0.0, 0.0)):
    """An HR grid of n × n pixels and the LR grid whose corner lies at ``offset`` (y, x) in it."""
    hr = GeoBox((n, n), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32631")
    shape = tuple(int((n - o) // ratio) for o in offset)
    lr = GeoBox(shape, hr.affine @ Affine.translation(offset[1], offset[0]) @ Affine.scale(ratio), hr.crs)
    return hr, lr


def truth(day, n=60, bands=2, seed=0):
    """(band, y, x) float32: parcels, each with its own course through the year, and fine texture."""
    rng = np.random.default_rng(seed)
    parcel = rng.integers(0, 12, (n // 6 + 1, n // 6 + 1)).repeat(6, 0).repeat(6, 1)[:n, :n]
    level, swing, phase = rng.uniform(0.1, 0.3, (bands, 12)), rng.uniform(0, 0.15, (bands, 12)), rng.uniform(0, 6, 12)
    texture = rng.normal(0, 0.01, (bands, n, n))
    season = np.sin(day / 15 + phase)[parcel]
    return (level[:, parcel] + swing[:, parcel] * season + texture).astype(np.float32)


def clouds(rng, count, n, share):
    """(count, n, n) bool, True where clear: a rectangle of clouds per image."""
    clear = np.ones((count, n, n), bool)
    for image in clear:
        side = int(n * share)
        y, x = rng.integers(0, n - side + 1, 2)
        image[y : y + side, x : x + side] = False
    return clear


def site(
    n=60, ratio=5.0, offset=(0.0, 0.0), guides=(0, 10, 20, 30, 40), targets=(5, 14, 33), cloudy=0.4, noise=0.0, seed=0,
    mtf=0.3, n_bands=2,
):  # fmt: skip
    """A site with a known truth; ``reference`` holds it at the targets' dates."""
    rng = np.random.default_rng(seed + 1)
    hr, lr = boxes(n, ratio, offset)
    bands = ["red", "nir", "green", "blue"][:n_bands]
    sharp = np.stack([truth(d, n, n_bands, seed) for d in guides])
    real = np.stack([truth(d, n, n_bands, seed) for d in targets])
    coarse, seen = down(real, np.ones((len(targets), n, n), bool), GridPair(hr, lr), mtf)
    coarse = np.nan_to_num(coarse) + rng.normal(0, 1, coarse.shape).astype(np.float32) * np.float32(noise)
    ok = clouds(rng, len(guides), n, cloudy)
    clear = clouds(rng, len(targets), max(lr.shape), cloudy)[:, : lr.shape[0], : lr.shape[1]] & seen

    def series(values, valid, days, box, **attrs):
        return make_series(values, valid, START + np.array(days, "timedelta64[D]"), bands, box, attrs)

    return make_site(
        series(sharp, ok, guides, hr, mtf=0.3),
        series(coarse.astype(np.float32), clear, targets, lr, mtf=mtf),
        series(real, np.ones((len(targets), n, n), bool), targets, hr),
        name="tiny",
    )


def change(tree, **changes):
    """The site with series changed by functions of them, by name."""
    parts = {name: changes.get(name, lambda s: s)(group(tree, name)) for name in tree.children}
    return make_site(**parts, name="tiny")


def poison(series, value):
    """The series with ``value`` wherever it is invalid."""
    return series.assign(reflectance=series["reflectance"].where(series["valid"], np.float32(value)).transpose(
        "time", "band", "y", "x"
    ))  # fmt: skip


def chunked(tree):
    """The site as dask arrays with odd chunks."""
    odd = {"time": 2, "band": 1, "y": 23, "x": 31}
    return change(tree, guide=lambda s: s.chunk(odd), target=lambda s: s.chunk({"time": 1, "y": 5, "x": 7}))


def day(number):
    """The date of a day number, as text."""
    return str(START + np.timedelta64(number, "D"))


def quick(name, tree):
    """Options that make a method quick on a site; CARN gets a network of the site's bands and ratio."""
    if not name.startswith("carn"):
        return QUICK.get(name, {})
    bands = tuple(str(b) for b in group(tree, "target")["band"].values)
    more = {"model": str(network(bands, tree.attrs["ratio"])), "device": "cpu"}
    return {**QUICK["ddi"], **more} if name == "carn+ddi" else more


@functools.cache
def network(bands, factor):
    """Folder of a tiny CARN with random weights, kept until the session ends."""
    return write_network(Path(_folder().name) / f"{'-'.join(bands)}-x{factor:g}", bands, factor)


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="sitsfuse-networks-")


def write_network(folder, bands, factor, context=2, seed=0, **card):
    """Write a model's folder, card and weights; returns it."""
    from safetensors.numpy import save_file

    from sitsfuse.superresolution.network import REACH

    shape = Architecture(bands=len(bands), grid=math.ceil(factor - 1e-6), features=8, groups=2, tail=4)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(shape, seed), folder / WEIGHTS)
    about = {
        "name": "tiny",
        "bands": bands,
        "factor": factor,
        "grid": shape.grid,
        "halo": REACH + context,
        "output": "details",
        "normalisation": Normalisation(scale=(0.1,) * len(bands), context=context),
        "training_data": "nothing: random weights",
        "licence": "Apache-2.0",
        "architecture": shape,
    }
    write_card(Card(**{**about, **card}), folder)
    return folder


def weights(shape, seed=0):
    """Random weights of a CARN, its last layer among them: details of a tenth of the input or so."""
    from sitsfuse.superresolution.network import CARN

    rng = np.random.default_rng(seed)
    out = {}
    for name, value in CARN(shape).state_dict().items():
        gain = 0.1 if name == "exit.weight" else 1.0
        size = gain * math.sqrt(2 / math.prod(value.shape[1:]))
        out[name] = (size * rng.standard_normal(value.shape)).astype(np.float32)
    return out
