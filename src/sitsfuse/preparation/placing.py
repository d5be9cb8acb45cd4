"""Registers the images of a site: HR images to one HR date, LR images to the HR image nearest in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from ..core.displacement import STAY, Displacement
from ..core.tiling import middle
from ..errors import InputError
from ..registration.register import register_images
from ..runtime.progress import Progress
from .config import PrepareConfig
from .image import Pixels
from .sources import Source
from .state import State
from .survey import Chosen, Survey

LARGEST = 4608
"""Largest side of the part of the images that is compared, in pixels; of larger ones it is the middle."""
CLOUDY = 30.0
"""Days that a wholly cloudy image seems further away than a clear one."""


@dataclass(frozen=True)
class Placed:
    """Where the content of an image lies, and how well that is known."""

    displacement: Displacement = STAY
    """To be taken out."""
    record: dict[str, Any] = field(default_factory=lambda: {"quality": "off"})
    """What the report says of it: at least ``quality``, which is good, doubtful, failed, reference or off."""

    @property
    def quality(self) -> str:
        """How well it is known."""
        return str(self.record["quality"])


def key(chosen: Chosen) -> str:
    """A name for an image, unique in a site."""
    series = chosen.role if chosen.role == "target" else "hr"
    return f"{series} {chosen.image.id} {chosen.image.time}"


def register(
    config: PrepareConfig, found: Survey, state: State, others: Sequence[Chosen], report: Progress
) -> dict[str, Placed]:
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
    dict
        {:func:`key`: where the image lies}; a failed one stays where it is and is flagged.
    """
    job = _Job(config, found, state)
    hr = [c for c in found.chosen if c.role != "target"]
    lr = [*found.of("target"), *others]
    total = len(hr) + len(lr)
    first = job.anchor()
    placed = {key(first): Placed(record={"quality": "reference"})}
    steps = iter(range(1, total + 1))

    def told(result: Placed) -> Placed:
        report("registering", next(steps), total)
        return result

    told(placed[key(first)])
    if not config.registration.within or config.registration.model == "none":
        placed |= {key(c): told(Placed()) for c in hr if c is not first}
    else:
        rest = [c for c in hr if c is not first]
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda c: told(job.within(c, first, STAY)), rest))
        placed |= {key(c): r for c, r in zip(rest, results, strict=True)}
        for image in rest:
            if placed[key(image)].quality != "good":
                placed[key(image)] = job.again(image, first, placed, hr)
    if not config.registration.between or config.registration.model == "none":
        placed |= {key(c): told(Placed()) for c in lr}
        return placed
    guides = found.of("guide")
    # By guide, so that each is degraded once.
    near = sorted(((_nearest(c, guides), c) for c in lr), key=lambda pair: (pair[0].image.time, pair[1].image.time))
    with ThreadPoolExecutor(2) as pool:
        results = list(
            pool.map(lambda pair: told(job.between(pair[1], pair[0], placed[key(pair[0])].displacement)), near)
        )
    return placed | {key(c): r for (_, c), r in zip(near, results, strict=True)}


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

    def again(self, image: Chosen, first: Chosen, placed: dict[str, Placed], hr: Sequence[Chosen]) -> Placed:
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
        if not known:
            against = {"against": str(other.image.time)[:10]}
            try:
                a, b = images()
            except InputError as error:
                if self.config.on_error == "stop":
                    raise
                return Placed(record=against | {"quality": "failed", "note": str(error)})
            if (model := self.config.registration.model) == "none":
                raise ValueError("nothing is to be registered")
            displacement, found = register_images(*a[:2], *b[:2], box, model=model)
            known = against | {"displacement": displacement.to_mapping(), **asdict(found)}
            self.state.put("registration", name, known)
        return Placed(Displacement.from_mapping(known["displacement"]), known)

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
