"""Registers the images of a site: HR images to their mean, LR images to the guide nearest in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox

from ..core.arrays import BoolArray, F64Array
from ..core.displacement import STAY, Displacement
from ..core.tiling import middle
from ..errors import InputError
from ..registration.register import Registration, register_images
from ..registration.series import agree, worthwhile
from ..runtime.progress import Progress
from ..stats.heldout import State as Decision
from ..stats.heldout import Verdict, gain
from .config import PrepareConfig
from .image import Pixels
from .placed import Placed, Placing
from .sources import Source
from .state import State
from .survey import Chosen, Survey

LARGEST = 4608
"""Largest side of the part of the images that is compared, in pixels; of larger ones it is the middle."""
CLOUDY = 30.0
"""Days that a wholly cloudy image seems further away than a clear one."""


def key(chosen: Chosen) -> str:
    """A name for an image, unique in a site."""
    series = chosen.role if chosen.role == "target" else "hr"
    return f"{series} {chosen.image.id} {chosen.image.time}"


def register(config: PrepareConfig, found: Survey, state: State, others: Sequence[Chosen], report: Progress) -> Placing:
    """Register all images of a site, and some more LR images.

    Parameters
    ----------
    config, found
        What to do, and with which images.
    state
        Where results of an earlier run are, and go.
    others
        LR images that are not targets, but are compared with guides later.
    report
        Told of the progress.

    Returns
    -------
    Placing
        HR images are moved to the robust mean of the guides, unless one is asked for by its date; LR images to the
        guides. What lies no further off than its uncertainty, or than a twentieth of a pixel, stays where it is; an
        image that could not be measured takes what the others of its satellite, or of its series, have in common.
    """
    job = _Job(config, found, state)
    hr = [c for c in found.chosen if c.role != "target"]
    lr = [*found.of("target"), *others]
    total = len(hr) + len(lr)
    steps = iter(range(1, total + 1))

    def told(result: Placed) -> Placed:
        report("registering", next(steps), total)
        return result

    off = Verdict("off", reason="not asked for")
    placed = {key(c): Placed() for c in (*hr, *lr)}
    verdicts = {"hr": off, "lr": off}
    if config.registration.within and config.registration.model != "none":
        settled, verdicts["hr"] = _settled_hr(job, hr, _measured(job, hr, told))
        placed |= settled
    if config.registration.between and config.registration.model != "none":
        guides = found.of("guide")
        # By guide, so that each is degraded once.
        near = sorted(((_nearest(c, guides), c) for c in lr), key=lambda pair: (pair[0].image.time, pair[1].image.time))
        with ThreadPoolExecutor(2) as pool:
            results = list(
                pool.map(lambda pair: told(job.between(pair[1], pair[0], placed[key(pair[0])].displacement)), near)
            )
        measured = {key(c): r for (_, c), r in zip(near, results, strict=True)}
        settled, verdicts["lr"] = settle(lr, measured, job.own_box, np.zeros(2))
        placed |= settled
    return Placing(placed, verdicts)


def _measured(job: _Job, hr: Sequence[Chosen], told: Callable[[Placed], Placed]) -> dict[str, Placed]:
    """HR images measured against one of them."""
    first = job.anchor()
    measured = {key(first): told(Placed(quality="reference"))}
    rest = [c for c in hr if c is not first]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda c: told(job.within(c, first, STAY)), rest))
    measured |= {key(c): r for c, r in zip(rest, results, strict=True)}
    for image in rest:
        if measured[key(image)].quality != "good":
            measured[key(image)] = job.again(image, first, measured, hr)
    return measured


def _settled_hr(job: _Job, hr: Sequence[Chosen], measured: Mapping[str, Placed]) -> tuple[dict[str, Placed], Verdict]:
    """HR images relative to the guides' robust mean; the references have no say in where that is."""
    guides = [c for c in hr if c.role == "guide"]
    frame = np.zeros(2)
    if job.config.registration.reference is None:
        agreed = agree(*_arrays(guides, measured))
        frame = agreed.centre if np.isfinite(agreed.centre_error) else frame
    placed, verdict = settle(guides, measured, job.box, frame)
    rest, _ = settle([c for c in hr if c.role != "guide"], measured, job.box, frame)
    return placed | rest, verdict


def _arrays(images: Sequence[Chosen], measured: Mapping[str, Placed]) -> tuple[F64Array, F64Array]:
    """(image, 2) displacements towards rows and columns and (image,) errors, in pixels; NaN of what failed."""
    known = [measured[key(c)] for c in images]
    least = [p.error for p in known if p.measured and p.error]
    floor = float(np.median(least)) if least else 1.0
    shifts = [p.shift if p.measured else (np.nan, np.nan) for p in known]
    errors = [p.error or floor for p in known]
    return np.array(shifts, np.float64).reshape(-1, 2), np.array(errors, np.float64)


def settle(
    images: Sequence[Chosen], measured: Mapping[str, Placed], box: GeoBox, frame: F64Array
) -> tuple[dict[str, Placed], Verdict]:
    """Where images of a series are put, from where each was measured.

    Parameters
    ----------
    images
        Of the series.
    measured
        Of each, by :func:`key`.
    box
        The grid that displacements were measured on.
    frame
        (2,) rows and columns that count as no displacement, in pixels.

    Returns
    -------
    placed, verdict
        By :func:`key`; and what taking the displacements out gains on windows left out.
    """
    if not images:
        return {}, Verdict("not applied", reason="there are no images")
    shifts, errors = _arrays(images, measured)
    platforms = [c.image.platform for c in images]
    agreed = agree(shifts, errors, platforms if all(platforms) else None)
    moves = worthwhile(agreed, frame)
    # Without a frame of its own a series cannot tell where an image belongs that was not measured.
    moves &= agreed.own | np.isfinite(agreed.centre_error)
    placed = {}
    for i, image in enumerate(images):
        was = measured[key(image)]
        d_row, d_col = (float(v) for v in agreed.shifts[i] - frame)
        settled = replace(was, shift_px=(d_col, -d_row if box.affine.e < 0 else d_row), applied=bool(moves[i]))
        if not was.measured and moves[i]:
            settled = replace(settled, quality="common", note="not measured: takes what the others have in common")
        displacement = STAY
        if moves[i]:
            by = agreed.shifts[i] - frame - (shifts[i] if agreed.own[i] else 0.0)
            displacement = was.displacement.plus(float(by[1] * box.affine.a), float(by[0] * box.affine.e))
        placed[key(image)] = replace(settled, displacement=displacement)
    left = np.array([measured[key(c)].left_out or np.nan for c in images])
    return placed, _verdict(shifts - frame, (agreed.shifts - frame) * moves[:, None], left, moves, agreed.own)


def _verdict(found: F64Array, taken: F64Array, left: F64Array, moves: BoolArray, own: BoolArray) -> Verdict:
    """What the displacements taken out gain where tie points were left out."""
    told = np.isfinite(left) & np.isfinite(found).all(axis=1)
    parts = int(told.sum())
    before, after = (np.sqrt(np.sum(np.square(d), axis=1) / 2 + np.square(left))[told] for d in (found, found - taken))
    rms = [float(np.sqrt(np.mean(np.square(v)))) if parts else np.nan for v in (before, after)]
    failed = int((~own).sum())
    reason = f"{failed} of {len(own)} images could not be measured" if failed else ""
    if not moves.any():
        none = "no image could be measured" if not own.any() else "no image lies off by more than its uncertainty"
        return Verdict("not applied", 0.0, 0.0, rms[0], rms[0], parts, none)
    share, estimate = np.nan, None
    if parts:
        share, estimate = gain(np.log(before), np.log(after), np.ones(parts), list(range(parts)))
    error = np.nan if estimate is None else (1 - share) * estimate.error
    state: Decision = "doubtful" if 3 * failed > len(own) else "applied"
    return Verdict(state, float(share), float(error), rms[0], rms[1], parts, reason)


class _Job:
    """What all registrations of a site share."""

    def __init__(self, config: PrepareConfig, found: Survey, state: State) -> None:
        self.config, self.found, self.state = config, found, state
        self.bands = self._bands()
        self.box = found.hr_box[middle(found.hr_box, LARGEST)]
        self.own_box = found.own_box[middle(found.own_box, LARGEST)]
        self.own_mtf = [found.own_mtf[found.bands.index(b)] for b in self.bands]
        self.hr_image = lru_cache(maxsize=2)(self._hr_image)
        self.degraded = lru_cache(maxsize=4)(self._degraded)

    def _bands(self) -> list[str]:
        wanted = self.config.registration.bands
        if wanted is None:
            return [b for b in self.found.bands if b in ("red", "nir")] or list(self.found.bands[:2])
        for b in wanted:
            if b not in self.found.bands:
                have = ", ".join(self.found.bands)
                raise InputError("`registration.bands`", f"{b} is not among the bands of the site", f"choose of {have}")
        return list(wanted)

    def anchor(self) -> Chosen:
        """The HR image that all others are registered to."""
        guides = self.found.of("guide")
        wanted = self.config.registration.reference
        if wanted is None:
            centre = np.median([c.image.time.astype("int64") for c in guides])
            # The clearest; of equally clear ones (to a percent) that in the middle, which is least unlike all others.
            return min(guides, key=lambda c: (-round(c.useful, 2), abs(c.image.time.astype("int64") - centre)))
        for c in guides:
            if c.image.time.astype("datetime64[D]") == np.datetime64(wanted):
                return c
        raise InputError("`registration.reference`", f"there is no guide of {wanted}", "choose the date of a guide")

    def within(self, image: Chosen, other: Chosen, moved: Displacement) -> Placed:
        """Register an HR image to another one."""

        def images() -> tuple[Pixels, Pixels]:
            a = self.hr_image(_ById(self.found.source(other.role), other), moved)
            return a, self._hr_image(_ById(self.found.source(image.role), image), STAY)

        return self._compare(image, other, moved, images, self.box)

    def again(self, image: Chosen, first: Chosen, placed: Mapping[str, Placed], hr: Sequence[Chosen]) -> Placed:
        """Try with the well placed image that is nearest in time, and keep the better result."""
        good = [c for c in hr if c is not image and c is not first and placed[key(c)].quality == "good"]
        before = placed[key(image)]
        if not good:
            return before
        near = min(good, key=lambda c: abs(c.image.time - image.image.time))
        result = self.within(image, near, placed[key(near)].displacement)
        rank = {"good": 2, "doubtful": 1}
        return result if rank.get(result.quality, 0) > rank.get(before.quality, 0) else before

    def between(self, image: Chosen, guide: Chosen, moved: Displacement) -> Placed:
        """Register an LR image to an HR image that is degraded to its grid."""

        def images() -> tuple[Pixels, Pixels]:
            a = self.degraded(_ById(self.found.hr, guide), moved)
            return a, self.found.lr.read(image.image, self.bands, self.own_box, STAY, self.own_mtf)

        return self._compare(image, guide, moved, images, self.own_box)

    def _compare(
        self,
        image: Chosen,
        other: Chosen,
        moved: Displacement,
        images: Callable[[], tuple[Pixels, Pixels]],
        box: GeoBox,
    ) -> Placed:
        """What was found of an image against a displaced other one, in an earlier run or now."""
        name = f"{key(image)} to {key(other)} {moved.mean}"
        known = self.state.get("registration", name)
        against = str(other.image.time)[:10]
        if "found" not in known:
            try:
                a, b = images()
            except InputError as error:
                if self.config.on_error == "stop":
                    raise
                return Placed(quality="failed", against=against, note=str(error))
            if (model := self.config.registration.model) == "none":
                raise ValueError("nothing is to be registered")
            displacement, found = register_images(*a[:2], *b[:2], box, model=model)
            known = {"displacement": displacement.to_mapping(), "found": asdict(found)}
            self.state.put("registration", name, known)
        found = Registration(**known["found"])
        return Placed(Displacement.from_mapping(known["displacement"]), found.quality, found, against)

    def _hr_image(self, image: _ById, moved: Displacement) -> Pixels:
        return image.source.read(image.chosen.image, self.bands, self.box, moved)

    def _degraded(self, image: _ById, moved: Displacement) -> Pixels:
        return image.source.read(image.chosen.image, self.bands, self.own_box, moved, self.own_mtf)


@dataclass(frozen=True, eq=False)
class _ById:
    """An image as a key of a cache, the same for the same object."""

    source: Source
    chosen: Chosen

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.chosen.image is self.chosen.image

    def __hash__(self) -> int:
        return id(self.chosen.image)


def _nearest(image: Chosen, guides: Sequence[Chosen]) -> Chosen:
    """The guide to compare an LR image with: near in time, and clear."""
    day = np.timedelta64(1, "D")
    return min(guides, key=lambda g: abs(g.image.time - image.image.time) / day + CLOUDY * (1 - g.useful))
