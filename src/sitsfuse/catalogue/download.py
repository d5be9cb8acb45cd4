"""Fetch the products that a search found."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..runtime.progress import Progress, silent
from .query import CREDENTIALS
from .search import Advance, Found, provider_errors, reason


def download(found: Sequence[Found], folder: str | Path, report: Progress = silent) -> list[Path]:
    """Download products, one after the other.

    Parameters
    ----------
    found
        What to download.
    folder
        Where to. What is there, packed or unpacked, is not fetched again; nothing incomplete has a product's name.
    report
        Called with a stage, the megabytes done and in all (as far as the archive tells sizes).

    Returns
    -------
    list of Path
        ``<folder>/<id>.zip``, or a folder of files where the catalogue has no archives, in the order of ``found``.

    Raises
    ------
    InputError
        If the archive refuses the credentials; or, after all others, for products that could not be had, a line each.
    """
    eodag, requests = provider_errors()
    folder = Path(folder)
    paths, failed = list[Path](), list[str]()
    total, came = sum(item.size or 0 for item in found), 0

    def advance(count: int) -> None:
        nonlocal came
        came += count
        report("downloading, MB", came // 10**6, max(total, came) // 10**6)

    for item in found:
        before, name = came, re.sub(r"[^\w.+-]", "_", item.id)
        try:
            paths.append(_present(folder, name) or _fetch_to(folder, name, item, advance))
        except (eodag.AuthenticationError, eodag.MisconfiguredError) as error:
            # The others would fare no better.
            raise InputError(item.provider, f"refuses access ({reason(error)})", _mend(item.provider)) from error
        except (eodag.EodagError, requests.RequestException, zipfile.BadZipFile) as error:
            tape = "" if item.online else " (on tape: the archive has to bring it first, try again later)"
            failed.append(f"{item.id}: {reason(error)}{tape}")
        except OSError as error:
            raise InputError(folder, f"cannot be written ({error})", "free space, or choose another folder") from error
        advance(max(before + (item.size or 0) - came, 0))
    if failed:
        problem = f"{len(failed)} of {len(found)} products could not be downloaded"
        raise InputError(folder, problem, "\n  ".join(["run again to fetch the rest", *failed]))
    return paths


def _fetch_to(folder: Path, name: str, item: Found, advance: Advance) -> Path:
    """Download under another name, then move in one step."""
    scratch = folder / ".partial" / name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        got = item.fetch(scratch, advance)
        return got.replace(folder / (name + ".zip" * got.is_file()))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not any(scratch.parent.iterdir()):
            scratch.parent.rmdir()


def _present(folder: Path, name: str) -> Path | None:
    """A complete product in the folder: packed or unpacked."""
    paths = [folder / (name + ending) for ending in (".zip", "", ".SAFE", ".SAFE.zip")]
    return next((p for p in paths if p.is_dir() or (p.is_file() and zipfile.is_zipfile(p))), None)


def _mend(provider: str) -> str:
    """How to give credentials."""
    from eodag import EODAGSettings

    if provider not in CREDENTIALS:
        return "take a catalogue with open access"
    names = " and ".join(CREDENTIALS[provider])
    variables = " and ".join(f"EODAG__{provider}__AUTH__CREDENTIALS__{n}".upper() for n in CREDENTIALS[provider])
    return f"set {variables}, or {names} under {provider}: auth: credentials: in {EODAGSettings().resolved_cfg_file}"
