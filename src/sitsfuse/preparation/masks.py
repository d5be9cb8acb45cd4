"""Looks for what the masks of the guides miss, clouds above all, and takes it out of the site where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..core.arrays import BoolArray
from ..core.loading import load_image
from ..core.site import group, make_site, pair_of
from ..radiometry.screening import at_hr, screen
from ..readers import read_zarr
from ..readers.products.flags import FLAGS
from ..runtime.files import replacing
from ..runtime.progress import Progress
from ..stats.heldout import Verdict
from ..writers import write_region
from .config import PrepareConfig
from .state import State
from .survey import Survey
from .verdicts import Said
from .writing import blocks

NAMED = 6
"""Guides that are named in the verdict at most."""


def check_masks(config: PrepareConfig, found: Survey, state: State, report: Progress) -> dict[str, Any]:
    """Screen the guides of a site that is written.

    Parameters
    ----------
    config, found
        What was wanted, and with which images.
    state
        Of the site; what an earlier run has found holds.
    report
        Told of the progress.

    Returns
    -------
    dict
        ``guides`` and how many of them there is evidence on (``judged``), ``findings`` with ``guide`` (day), ``index``,
        ``whole`` and ``share`` (0–1 of the pixels that could be judged), and whether these pixels were ``masked``.
    """
    kept = state.folder / "missed.npz"
    done = state.get("masks", "found")
    if not done:
        report("screening guides", 0, 1)
        screening = screen(_own(state))
        done = {
            "guides": len(screening.verdicts),
            "judged": sum(v.judged > 0 for v in screening.verdicts),
            "findings": [
                {"guide": str(v.time)[:10], "index": i, "whole": v.whole, "share": round(v.wrong, 4)}
                for i, v in enumerate(screening.verdicts)
                if v.wrong > 0
            ],
            "masked": config.mask_missed_clouds and screening.wrong is not None,
        }
        if done["masked"] and screening.wrong is not None:
            with replacing(kept) as draft:
                np.savez_compressed(draft, wrong=np.packbits(screening.wrong), shape=screening.wrong.shape)
        state.put("masks", "found", done)
        report("screening guides", 1, 1)
    if done["masked"]:
        with np.load(kept) as held:
            shape = tuple(int(n) for n in held["shape"])
            wrong = np.unpackbits(held["wrong"], count=int(np.prod(shape))).reshape(shape).astype(bool)
        site = _own(state)
        for finding in done["findings"]:
            if not state.get("masks", f"masked {finding['index']}"):
                _mask(site, found, state, finding, wrong[finding["index"]])
                state.put("masks", f"masked {finding['index']}", finding)
    return done


def _own(state: State) -> xr.DataTree:
    """The site as far as it is made."""
    return make_site(**{role: read_zarr(state.site / role, unfinished=True) for role in ("guide", "target")})


def _mask(site: xr.DataTree, found: Survey, state: State, finding: Mapping[str, Any], wrong: BoolArray) -> None:
    """Make invalid what a guide should not show; it is flagged as cloud."""
    image = group(site, "guide").isel(time=finding["index"])
    pair = pair_of(site)
    for rows, cols in blocks(found.hr_box, len(found.bands)):
        missed = np.ones((rows.stop - rows.start, cols.stop - cols.start), bool)
        if not finding["whole"]:
            missed = at_hr(wrong[None], pair, (rows, cols))[0]
        if not missed.any():
            continue
        values, valid = load_image(image, (rows, cols), found.bands)
        flags = image["flags"].isel(y=rows, x=cols).values
        missed &= valid
        cleared = {
            "reflectance": np.where(missed, np.float32(np.nan), values),
            "valid": valid & ~missed,
            "flags": np.where(missed, flags | np.uint8(FLAGS["cloud"]), flags),
        }
        write_region(state.site / "guide", cleared, finding["index"], rows, cols)


def masks_verdict(done: Mapping[str, Any]) -> Said:
    """What was found of the masks."""
    name, findings = "Masks of the guides", done["findings"]
    if not done["judged"]:
        reason = "too few guides have an LR image near in time to tell clouds that they miss"
        return Said(name, Verdict("not checked", reason=reason), "")
    if not findings:
        reason = f"none of the {done['judged']} guides that can be judged stands out from the others and the LR series"
        return Said(name, Verdict("in order", reason=reason), "")
    listed = ", ".join(_named(findings[:NAMED]))
    more = f" and {len(findings) - NAMED} more" if len(findings) > NAMED else ""
    shows = "show" if len(findings) > 1 else "shows"
    reason = f"{len(findings)} of {done['guides']} guides {shows} what neither the others nor the LR series show, "
    reason += f"perhaps clouds: {listed}{more}; "
    if done["masked"]:
        return Said(name, Verdict("applied", reason=f"{reason}masked as cloud"), "")
    mend = "left as it is (`fuse` leaves it out); --mask-missed-clouds masks it"
    return Said(name, Verdict("doubtful", reason=reason + mend), "")


def _named(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{f['guide']} ({'all of it' if f['whole'] else share(f['share'])})" for f in findings]


def share(value: float) -> str:
    """A share in per cent; small ones are not none."""
    return f"{100 * value:.0f} %" if value >= 0.01 else "< 1 %"
