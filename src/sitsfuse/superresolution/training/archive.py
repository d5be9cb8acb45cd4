"""Images of a SEN2VENµS archive: its own pairs, or its HR images alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.series import DEFAULT_MTF
from ...errors import InputError
from .collection import HELD_SHARE, Collection, is_clear
from .pairs import Image, observed
from .patches import Patches
from .sen2venus import open_sen2venus, split_sites


def from_archive(path: Path, factor: float | None, bands: str, most: int, seed: int) -> Collection:
    """Read patches of an archive, some sites of which are held out.

    Parameters
    ----------
    path
        The archive.
    factor
        LR pixel size over HR pixel size; at that of the archive, the default, the pairs are the real ones.
    bands
        The group of bands.
    most
        Most HR pixels in memory, about.
    seed
        Of the split and of the patches drawn.

    Raises
    ------
    InputError
        If the archive cannot be read, has fewer than two sites, or none that is clear.
    """
    patches = open_sen2venus(path, bands)
    sites = {p.site for p in patches}
    if len(sites) < 2:
        raise InputError(path, f"holds one site ({patches[0].site})", "give two or more, to have one to judge by")
    # Two sites cannot make three parts: the one held out then judges, too.
    parts = split_sites(patches, seed) if len(sites) > 2 else split_sites(patches, seed, test=0.0)
    native = patches[0].ratio
    factor = factor or native
    # The pairs are real at their own factor; any other is made of the HR patches.
    real = abs(factor / native - 1) < 1e-6
    rng = np.random.default_rng(seed)
    shares = {"train": 1 - HELD_SHARE, "validation": HELD_SHARE / 2, "test": HELD_SHARE / 2}
    found = {name: _patches(parts[name], int(most * share), factor, real, rng) for name, share in shares.items()}
    for name in ("train", "validation"):
        if not found[name]:
            where = ", ".join(sorted({p.site for p in parts[name]}))
            raise InputError(path, f"has no clear patch of {where}", "give more sites, or another seed")
    judge = "test" if found["test"] else "validation"
    count = len({p.site for p in parts["train"]})
    data = f"SEN2VENµS, {count} site{'s' * (count != 1)}"
    if not real:
        data += ": its HR patches and their own degraded versions"
    what = "other sites: " + ", ".join(sorted({p.site for p in parts[judge]}))
    return Collection(
        patches[0].bands, factor, found["train"], found["validation"], found[judge], DEFAULT_MTF, data, what
    )


def _patches(files: Sequence[Patches], most: int, factor: float, real: bool, rng: np.random.Generator) -> list[Image]:
    """Patches drawn evenly from the files."""
    found = []
    for file in files:
        pixels = math.prod(file.size) * file.ratio**2
        each = max(1, math.ceil(most / len(files) / pixels))
        index = np.sort(rng.permutation(file.count)[:each])
        for hr, lr in zip(*file.read([int(i) for i in index]), strict=True):
            valid = observed(hr)
            image = Image(np.where(valid, hr, np.float32(0)), valid, lr if real else None)
            if is_clear(image, factor, DEFAULT_MTF):
                found.append(image)
    return found
