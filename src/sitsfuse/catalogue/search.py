"""The products of a site at an archive: what there is between two dates, and their download, with eodag.

An archive is asked for collection, dates and place only; tile, platform and cloud are compared here, alike for all.
"""

from __future__ import annotations

import logging
import re
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError, missing_extra
from .query import CREDENTIALS, STAC, Query, is_number, parse_time

Advance = Callable[[int], None]  # told how many bytes came
_SILENT = logging.NullHandler()


@dataclass(frozen=True)
class Found:
    """A product at an archive."""

    provider: str
    """Where it was found, as in the query."""
    id: str
    """Name of the product."""
    time: datetime
    """When the image was taken, UTC."""
    cloud: float | None
    """Cloud cover, in %."""
    size: int | None
    """Bytes to download."""
    online: bool
    """Whether it can be had at once; else the archive has to bring it from tape first."""
    url: str
    """Where it lies: the archive, or its first file."""
    fetch: Callable[[Path, Advance], Path] = field(repr=False, compare=False)
    """Downloads it into an empty folder, telling the bytes that came; returns the archive, or the folder of files."""


def search(query: Query, *, catalogue: str | None = None) -> list[Found]:
    """Ask an archive what it has.

    Parameters
    ----------
    query
        What to look for.
    catalogue
        URL of a STAC API to ask in the place of the query's provider.

    Returns
    -------
    list of Found
        By time.

    Raises
    ------
    InputError
        If the archive does not answer, refuses, or has nothing of what is asked; if eodag is not installed.
    """
    query = query if catalogue is None else replace(query, provider=catalogue)
    dag = _gateway(query.provider)
    found = [(_found(dag, query, p), p.properties) for p in _answer(dag, query)]
    # By name: pages may overlap while products come in.
    return sorted({f.id: f for f in _matching(query, found)}.values(), key=lambda f: (f.time, f.id))


def table(found: Sequence[Found]) -> str:
    """Products as text: a line each, and their sum."""
    lines = [f"{'date':<16}  {'cloud':>5}  {'size':>7}  product"]
    for item in found:
        cloud = "" if item.cloud is None else f"{item.cloud:.0f} %"
        size = "" if item.size is None else f"{item.size / 1e6:.0f} MB"
        lines.append(
            f"{item.time:%Y-%m-%d %H:%M}  {cloud:>5}  {size:>7}  {item.id}" + "  (on tape)" * (not item.online)
        )
    sizes = [item.size for item in found if item.size is not None]
    least = "" if len(sizes) == len(found) else "at least "
    return "\n".join([*lines, f"products: {len(found)}, {least}{sum(sizes) / 1e6:.0f} MB"])


def provider_errors() -> tuple[Any, Any]:
    """The modules of what eodag raises."""
    try:
        import requests
        from eodag.utils import exceptions
    except ImportError as error:
        raise missing_extra("download", "eodag") from error
    # Failures are raised; where nobody has set up logging, eodag's would go to stderr as well.
    logging.getLogger("eodag").addHandler(_SILENT)
    return exceptions, requests


def _gateway(provider: str) -> Any:
    """Eodag with one provider only, kept from fetching lists of collections."""
    provider_errors()
    from eodag import EODAGSettings, EODataAccessGateway

    name = provider if provider in CREDENTIALS else STAC
    dag = EODataAccessGateway(settings=EODAGSettings(providers_whitelist=[name]))
    options: dict[str, Any] = {"discover_collections": {"fetch_url": ""}}
    if name == STAC:
        url = provider.rstrip("/").removesuffix("/search") + "/search"
        dag.add_provider(name, url=url, search={**options, "pagination": {"max_limit": 100}})
    else:
        dag.update_providers_config(dict_conf={name: {"search": options}})
    return dag


def _answer(dag: Any, query: Query) -> list[Any]:
    """All products of the collection, dates and place; what goes wrong in the user's words."""
    eodag, requests = provider_errors()
    try:
        products, total = _all_pages(dag, query)
    except (eodag.EodagError, requests.RequestException) as error:
        refused = 400 <= (getattr(error, "status_code", None) or 0) < 500
        problem = f"{'refuses the query' if refused else 'does not answer'} ({reason(error)})"
        mend = f"check the address and the collection {query.collection}" if refused else "check the network"
        raise InputError(query.provider, problem, f"{mend}, or try again later") from error
    if len(products) < total:
        raise InputError(query.provider, f"gave only {len(products)} of {total} or more products", "narrow the dates")
    if not products:
        place = f"tile {query.tile}" if query.bounds is None else f"bounds {query.bounds}"
        problem = f"has nothing of {query.collection} from {query.start} to {query.end} at {place}"
        mend = "check the collection, the dates and the place" + " or give bounds" * (query.bounds is None)
        raise InputError(query.provider, problem, mend)
    return products


def _all_pages(dag: Any, query: Query) -> tuple[list[Any], int]:
    """All products, page by page, and how many there should be at least."""
    name = query.provider if query.provider in CREDENTIALS else STAC
    request: dict[str, Any] = {"provider": name, "collection": query.collection}
    request |= {"start": f"{query.start}T00:00:00.000Z", "end": f"{query.end}T23:59:59.999Z"}
    if query.bounds is not None:
        request["geom"] = list(query.bounds)
    elif query.tile is not None:
        # STAC writes MGRS-31TCJ. GEODES writes 31TCJ or T31TCJ and looks for a part of it; eodag would insist on the T.
        tile = re.sub(r"^T(\d)", r"\1", query.tile)
        request["grid:code"] = f"MGRS-{tile}" if name == STAC and tile[0].isdecimal() else tile

    def ask(limit: int | None) -> tuple[list[Any], int, int, int]:
        result = dag.search(limit=limit, count=True, raise_errors=True, validate=False, **request)
        first, asked, total = len(result), (result.search_params or {}).get("limit", 0), result.number_matched or 0
        return [p for page in (result, *result.next_page(update=False)) for p in page], first, asked, total

    products, first, asked, total = ask(None)
    if 0 < first == len(products) != total:
        # One page. To eodag one with less than asked for is the last, but the server may allow no more per page; and it
        # knows not every kind of link to the next, which shows where a page cannot hold all.
        again, *_ = ask(first if first < asked else first - 1)
        total = total if first < asked else max(total, 2 * first - len(again))
        products = max(products, again, key=len)
    return products, total


def _matching(query: Query, products: Sequence[tuple[Found, Any]]) -> list[Found]:
    """Those of the tile and platform, with little enough cloud."""
    tests: dict[str, Callable[[Found, Any], bool]] = {}
    if (tile := query.tile) is not None:
        tests[f"of tile {tile}"] = lambda f, p: _bare(tile) in map(_bare, [*f.id.split("_"), p.get("grid:code")])
    if (name := query.platform) is not None:
        tests[f"from {name}"] = lambda _, p: _bare(name) == _bare(p.get("platform"))
    if (most := query.cloud) is not None:
        tests[f"with at most {most:g} % of cloud"] = lambda f, _: (f.cloud or 0) <= most
    for wanted, test in tests.items():
        before, products = products, [(f, p) for f, p in products if test(f, p)]
        if not products:
            problem = f"has {len(before)} such products, but none {wanted} (one is {before[0][0].id})"
            raise InputError(query.provider, problem, "ask for another, or widen the dates")
    return [f for f, _ in products]


def _found(dag: Any, query: Query, product: Any) -> Found:
    """A product in our terms."""
    facts, assets = product.properties, product.assets
    time = parse_time(facts.get("start_datetime")) or parse_time(facts.get("datetime"))
    if time is None:
        raise InputError(query.provider, f"gives no date for {facts['id']}", "leave that collection")
    cloud, link = facts.get("eo:cloud_cover"), str(facts.get("eodag:download_link"))
    zips = [k for k, a in assets.items() if "zip" in str(a.get("type")) or a["href"].partition("?")[0].endswith(".zip")]
    whole, single = query.provider in CREDENTIALS, len(zips) == 1
    keys = [k for k, a in assets.items() if a["href"] == link] if whole else zips if single else list(assets)
    sizes = [assets[k].get("file:size") for k in keys] or [facts.get("file:size")]
    return Found(
        provider=query.provider,
        id=str(facts["id"]),
        time=time,
        cloud=float(cloud) if is_number(cloud) else None,
        size=sum(map(int, sizes)) if all(map(is_number, sizes)) else None,
        online=facts.get("order:status") == "succeeded",
        url=link if whole else next((str(assets[k]["href"]) for k in keys), ""),
        fetch=partial(_fetch, dag, product, whole, zips[0] if single and not whole else None),
    )


def _fetch(dag: Any, product: Any, whole: bool, key: str | None, scratch: Path, advance: Advance) -> Path:
    """Download one product with eodag into an empty folder: it as a whole, the file of one key, or all its files."""
    from eodag.utils import ProgressCallback

    class Bytes(ProgressCallback):
        def __call__(self, increment: int, total: int | None = None) -> None:
            advance(increment)

    one = {} if key is None else {"asset": f"^{re.escape(key)}$"}
    product.location = product.remote_location  # eodag would keep to where it put it before
    got = Path(dag.download(product, Bytes(disable=True), output_dir=str(scratch), extract=False, **one))
    if not whole and key is None:
        return got
    files = [got] if got.is_file() else [p for p in got.rglob("*") if p.is_file()]
    if len(files) != 1 or not zipfile.is_zipfile(files[0]):
        raise zipfile.BadZipFile("what came is not a complete zip archive")
    return files[0]


def reason(error: BaseException) -> str:
    """What went wrong below, in one line; of nested errors the innermost tells most."""
    error = error.__cause__ or error
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    text = " ".join(a for a in error.args if isinstance(a, str)) or repr(error)
    return textwrap.shorten(text.rpartition("Caused by ")[2], 200, placeholder="…")


def _bare(name: object) -> str:
    """A tile or satellite without regard to spelling: MGRS-31TCJ and T31TCJ, Sentinel-2A and S2A are one."""
    text = re.sub(r"[^A-Z0-9]", "", str(name).upper().removeprefix("MGRS-")).replace("SENTINEL", "S")
    return text.removeprefix("T") if re.fullmatch(r"T\d{1,2}[C-X][A-Z]{2}", text) else text
