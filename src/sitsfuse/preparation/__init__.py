"""From product archives or series to a site: choose, register, harmonise, degrade, write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import rasterio

from ..runtime.claims import check_apart, check_ours
from ..runtime.files import plain, write_json
from ..runtime.progress import Progress, silent
from ..runtime.threads import bound, default_workers
from ..version import __version__
from ..writers import consolidate, finish
from .blurring import fit_blur
from .config import PrepareConfig, changed, make_config, read_config
from .harmonizing import comparisons, harmonize
from .masks import check_masks
from .placing import register
from .record import checkerboard, record
from .state import PARTS, SITE, State, begin
from .survey import Survey, survey
from .writing import write_images

__all__ = ["PrepareConfig", "changed", "make_config", "plan_site", "prepare", "read_config"]

CACHE = 128 * 2**20
"""Bytes that GDAL may keep of files; left to itself it takes a twentieth of the machine."""
WORKERS = 4
"""Blocks at a time at most: each is held in memory."""


def plan_site(config: PrepareConfig, report: Progress = silent) -> Survey:
    """What :func:`prepare` would do: sources, grids, and the images chosen for each role.

    Parameters
    ----------
    config
        From :func:`read_config` or :func:`make_config`.
    report
        Called with a stage, the steps done and in all.

    Raises
    ------
    InputError
        If there is nothing to work with.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE):
        return survey(config, report)


def prepare(
    config: PrepareConfig | str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    report: Progress = silent,
) -> dict[str, Any]:
    """Prepare a site.

    Run again, it goes on where it was: what is registered is not registered again, what is written not written again.

    Parameters
    ----------
    config
        A configuration, or the path of a TOML file.
    out
        The site: a Zarr store with the groups ``guide``, ``target`` and, if there are any, ``reference``.
    overwrite
        Whether to replace a site of another configuration.
    workers
        Blocks at a time; by default one per core, at most four.
    report
        Called with a stage, the steps done and in all.

    Returns
    -------
    dict
        What was done, JSON-safe: ``plan``, ``images`` (shift, quality …), ``harmonization``, ``masks``, ``problems``;
        also in ``prepare.json`` within the site.

    Raises
    ------
    InputError
        If the configuration or an input cannot be used; with ``on_error = "skip"`` images that cannot be used are left
        out and listed under ``problems``.
    """
    if not isinstance(config, PrepareConfig):
        config = read_config(config)
    out = Path(out)
    from .page import prepare_page  # before the work, lest it end for want of an extra

    inputs = [s.path for s in (config.guide, config.target, config.reference) if s is not None]
    # To look at all images takes a while; a place that is taken is refused before.
    check_apart(out, inputs)
    check_ours(out, SITE, overwrite)
    bound()
    with rasterio.Env(GDAL_CACHEMAX=CACHE):
        found = survey(config, report)
        attrs: dict[str, Any] = {"name": config.name or out.resolve().name.removesuffix(".zarr")}
        attrs |= {k: v for k in ("landscape", "location") if (v := getattr(config, k))}
        attrs["ratio"] = abs(found.lr_box.affine.a / found.hr_box.affine.a)
        with begin(out, _fixed(config, found), attrs, overwrite, inputs) as state:
            done, samples = _made(config, found, state, attrs, report, workers or min(WORKERS, default_workers()))
            _finish(state)
            write_json(out / "prepare.json", plain(done))
            prepare_page(done, samples, out / "prepare.html")
    return done


def _finish(state: State) -> None:
    """Say of the site that it is whole; of the store last, whose guides may be read alone."""
    for role in PARTS:
        if (state.site / role).is_dir():
            finish(state.site / role)
    finish(state.site)


def _made(
    config: PrepareConfig, found: Survey, state: State, attrs: dict[str, Any], report: Progress, workers: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Register, harmonise and write; the record of it, and samples for the page."""
    compared = comparisons(found, config.harmonization.max_days, config.harmonization.around_days)
    targets = {id(c.image) for c in found.of("target")}
    others = [c.image for c in compared if id(c.image.image) not in targets]
    placed = register(config, found, state, others, report)
    blur = fit_blur(config, found, placed, report)
    lr_mtf, own_mtf = blur.used_by(found)
    found = replace(found, lr_mtf=lr_mtf, own_mtf=own_mtf)
    radiometry = harmonize(config, found, compared, placed, report)
    failed = write_images(config, found, placed, radiometry, state, report, workers)
    consolidate(state.site)
    masks = check_masks(config, found, state, report)
    done = record(config, found, placed, blur, radiometry, masks, state, [*found.problems, *failed.values()], attrs)
    return done, {**radiometry.samples, **checkerboard(found, placed, radiometry, failed)}


def _fixed(config: PrepareConfig, found: Survey) -> dict[str, Any]:
    """All that the site depends on."""
    images = {role: [c.image.id for c in found.of(role)] for role in ("guide", "target", "reference")}
    settled = config.model_dump(mode="json") | {"images": images, "version": __version__}
    return dict(json.loads(json.dumps(plain(settled))))
