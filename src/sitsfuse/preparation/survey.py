"""What there is and what becomes of it: sources opened, grids laid, images chosen."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from ..core.series import DEFAULT_MTF
from ..errors import InputError
from ..runtime.progress import Progress
from .config import PrepareConfig
from .grids import grids
from .image import Image
from .plan import Candidate, Plan
from .selection import plan
from .sources import Source, match, open_source
from .units import check_units

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
    """Usable LR images that are not targets: they still help to register and harmonise."""
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
    check_units(hr, lr, bands)
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
