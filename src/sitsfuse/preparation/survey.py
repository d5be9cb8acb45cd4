"""What there is and what becomes of it: sources opened, grids laid, images chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from ..errors import InputError
from ..grid import GridPair, check_unrotated, coarser
from ..select import Candidate, Plan, plan
from ..series import DEFAULT_MTF
from .config import PrepareConfig
from .images import Image, Source, match, open_source

Progress = Callable[[str, int, int], None]
"""Called with a stage, the steps done and in all."""
LEAST_COVERAGE = 0.01
"""Share of the site that an image must cover to count as one of the site."""


@dataclass(frozen=True)
class Chosen:
    """An image with its role in the site."""

    role: str
    """guide, target or reference."""
    image: Image
    clear: float
    """Clear share of what the image covers of the site, 0–1."""
    coverage: float
    """Share of the site with data, 0–1."""

    @property
    def useful(self) -> float:
        """Clear share of the site, 0–1."""
        return self.clear * self.coverage


@dataclass(frozen=True)
class Survey:
    """Sources, grids and the images that were chosen."""

    hr: Source
    lr: Source
    given: Source | None
    """References that lie apart."""
    bands: tuple[str, ...]
    hr_box: GeoBox
    lr_box: GeoBox
    lr_mtf: tuple[float, ...]
    """MTF at Nyquist of the LR images of the site, per band."""
    own_box: GeoBox
    """The grid on which the two sensors are compared: the LR images' own one where that is coarser than the HR grid."""
    own_mtf: tuple[float, ...]
    """MTF at Nyquist of the LR images on it, per band."""
    plan: Plan
    chosen: tuple[Chosen, ...]
    """By role and time."""
    others: tuple[Chosen, ...]
    """Usable LR images that are no targets: they still help to register and harmonise."""
    problems: tuple[InputError, ...]
    """Images that cannot be used."""

    def source(self, role: str) -> Source:
        """Where images of a role come from."""
        if role == "target":
            return self.lr
        return self.given if role == "reference" and self.given is not None else self.hr

    def box(self, role: str) -> GeoBox:
        """The grid of a role."""
        return self.lr_box if role == "target" else self.hr_box

    def of(self, role: str) -> list[Chosen]:
        """The images of a role, by time."""
        return [c for c in self.chosen if c.role == role]


def survey(config: PrepareConfig, report: Progress) -> Survey:
    """Open the sources and choose the images.

    Raises
    ------
    InputError
        If there is nothing to work with; or, with ``on_error = "stop"``, naming the first image that cannot be used.
    """
    hr, lr = open_source(config.guide), open_source(config.target)
    given = open_source(config.reference) if config.reference else None
    wanted = list(config.guide.bands or config.target.bands or ()) or None
    hr, lr, bands = match(hr, lr, wanted)
    problems = [*hr.problems, *lr.problems, *(given.problems if given else ())]
    _stop(config, problems)
    hr_box, lr_box, own_box = grids(config, hr, lr, bands)
    mtfs = own_mtfs = tuple(lr.mtfs[b] for b in bands)
    if config.target.degrade is not None:
        # The MTF that is asked for is that of what the images become; their own one is the sensor's.
        mtfs = mtfs if config.target.mtf is not None else tuple(DEFAULT_MTF for _ in bands)
        own_mtfs = mtfs if own_box == lr_box else tuple(lr.sensor_mtfs[b] for b in bands)
    total = len(hr.images) + len(lr.images) + (len(given.images) if given else 0)
    done = 0

    def seen(source: Source, box: GeoBox) -> list[tuple[Image, Candidate]]:
        nonlocal done
        found = []
        with ThreadPoolExecutor(2) as pool:
            tasks = [(image, pool.submit(_candidate, source, image, bands, box)) for image in source.images]
            for image, task in tasks:
                try:
                    found.append((image, task.result()))
                except InputError as error:
                    problems.append(error)
                done += 1
                report("looking at images", done, total)
        return found

    hr_seen, lr_seen = seen(hr, hr_box), seen(lr, hr_box)
    ref_seen = seen(given, hr_box) if given else []
    _stop(config, problems)
    s = config.selection
    made = plan(
        [c for _, c in hr_seen],
        [c for _, c in lr_seen],
        mode=s.mode,
        revisit=s.revisit,
        max_days=s.max_days,
        guides=s.guides,
        start=None if s.start is None else np.datetime64(s.start),
        end=None if s.end is None else np.datetime64(s.end),
        min_clear_hr=s.min_clear_hr,
        min_clear_lr=s.min_clear_lr,
    )
    chosen, taken = _chosen(made, hr_seen, lr_seen, ref_seen, s.min_clear_hr)
    others = [
        Chosen("target", image, c.clear, c.coverage)
        for image, c in lr_seen
        if id(image) not in taken and c.clear >= s.min_clear_lr
    ]
    return Survey(
        hr=hr,
        lr=lr,
        given=given,
        bands=tuple(bands),
        hr_box=hr_box,
        lr_box=lr_box,
        lr_mtf=mtfs,
        own_box=own_box,
        own_mtf=own_mtfs,
        plan=made,
        chosen=tuple(chosen),
        others=tuple(others),
        problems=tuple(problems),
    )


def grids(config: PrepareConfig, hr: Source, lr: Source, bands: Sequence[str]) -> tuple[GeoBox, GeoBox, GeoBox]:
    """The HR and the LR grid of the site, and the one on which the sensors are compared.

    The HR grid is that of the guides, within the bounds asked for and where the target reaches. The LR grid is that
    of the target around it, or, if it is to be degraded or has another CRS, one with the HR grid's corner. The
    sensors are compared before the images are degraded further, if theirs is the coarser grid by then.

    Raises
    ------
    InputError
        If they do not overlap, or an image grid is rotated.
    """
    fine, coarse = hr.grid(bands), lr.grid(bands)
    check_unrotated(fine, hr.where)
    if config.grid.bounds is not None:
        fine = _within(fine, config.grid.bounds, "grid.bounds")
    if fine.crs is None or coarse.crs is None:
        raise InputError(hr.where if fine.crs is None else lr.where, "has no CRS", "georeference the images")
    around = coarse.extent.to_crs(fine.crs) if coarse.crs != fine.crs else coarse.extent
    pixel, own = abs(fine.affine.a), abs(coarse.affine.a)
    # Grids that are meant to cover the same may end half an LR pixel apart.
    fine = _within(fine, tuple(around.boundingbox.buffered(own / 2 if coarse.crs == fine.crs else 0)), lr.where)
    if config.target.degrade is not None:
        if config.target.degrade < own * (1 - 1e-6) and coarse.crs == fine.crs:
            raise InputError(
                "target.degrade",
                f"{config.target.degrade:g} m is finer than the images' {own:g} m",
                "give a larger one",
            )
        lr_box = coarser(fine, config.target.degrade / pixel)
        comparable = coarse.crs == fine.crs and own > pixel * (1 + 1e-6) and not _turned(coarse)
        return fine, lr_box, _around(coarse, fine) if comparable else lr_box
    if coarse.crs != fine.crs:
        if around.crs is None or fine.extent.crs is None or around.crs.geographic != coarse.crs.geographic:
            raise InputError(lr.where, "has degrees for units and the guides metres, or the reverse", "reproject one")
        lr_box = coarser(fine, own / pixel)
        return fine, lr_box, lr_box
    check_unrotated(coarse, lr.where)
    lr_box = _around(coarse, fine)
    return fine, lr_box, lr_box


def _turned(box: GeoBox) -> bool:
    return bool(box.affine.b != 0 or box.affine.d != 0)


def _within(box: GeoBox, bounds: Sequence[float], where: object) -> GeoBox:
    """The pixels of a grid that lie within bounds."""
    left, bottom, right, top = bounds
    (c0, r0), (c1, r1) = (~box.affine * p for p in ((left, top), (right, bottom)))
    rows, cols = sorted((r0, r1)), sorted((c0, c1))
    cut = [
        (max(0, math.ceil(a - 1e-6)), min(n, math.floor(b + 1e-6)))
        for (a, b), n in zip((rows, cols), box.shape, strict=True)
    ]
    if any(b <= a for a, b in cut):
        raise InputError(where, "does not overlap the guides", "check the extents with `sitsfuse info`")
    (y0, y1), (x0, x1) = cut
    return box[y0:y1, x0:x1]


def _around(box: GeoBox, inner: GeoBox) -> GeoBox:
    """The pixels of a grid that touch another one, and one more on each side."""
    pair = GridPair(inner, box)
    rows, cols = pair.lr_window((slice(0, inner.shape[0]), slice(0, inner.shape[1])))
    y0, x0 = max(rows.start - 1, 0), max(cols.start - 1, 0)
    return box[y0 : min(rows.stop + 1, box.shape[0]), x0 : min(cols.stop + 1, box.shape[1])]


def _candidate(source: Source, image: Image, bands: Sequence[str], box: GeoBox) -> Candidate:
    coverage, valid = source.shares(image, bands, box)
    if coverage < LEAST_COVERAGE:
        raise InputError(image.path, f"{image.id} does not overlap the site", "move it elsewhere")
    return Candidate(image.time, coverage, valid / coverage, image.id)


def _chosen(
    made: Plan,
    hr: Sequence[tuple[Image, Candidate]],
    lr: Sequence[tuple[Image, Candidate]],
    given: Sequence[tuple[Image, Candidate]],
    least: float,
) -> tuple[list[Chosen], set[int]]:
    """The images of the plan, by role and time, and which of them are taken."""
    chosen, taken = [], set()
    for role, wanted, seen in (
        ("guide", made.guides, hr),
        ("target", made.targets, lr),
        ("reference", made.references, hr),
    ):
        for candidate in wanted:
            image = next(i for i, c in seen if c is candidate)
            taken.add(id(image))
            chosen.append(Chosen(role, image, candidate.clear, candidate.coverage))
    if given:
        chosen = [c for c in chosen if c.role != "reference"]
        chosen += [Chosen("reference", i, c.clear, c.coverage) for i, c in given if c.clear >= least]
    return chosen, taken


def _stop(config: PrepareConfig, problems: Sequence[InputError]) -> None:
    if config.on_error == "stop" and problems:
        raise problems[0]
