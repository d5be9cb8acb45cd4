"""The numbers of a benchmark as one array, and the measures that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..core.arrays import F64Array
from .measures import HEADLINE, OF_VALUES, Measure
from .protocols import STANDARD

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """All values of a benchmark's table as one array, to be looked up at once."""

    values: F64Array
    """(protocol, pair, method, key); NaN where there is none."""
    pairs: pd.DataFrame
    """Per pair of a prediction and a reference: ``site``, ``target``, ``ratio``, ``date`` (text), ``same_day``; in
    order of site, ratio and date."""
    protocols: tuple[str, ...]
    methods: tuple[str, ...]
    keys: Mapping[tuple[str, str, str], int]
    """Position of (metric, band, stratum)."""
    costs: Mapping[str, F64Array]
    """(protocol, pair, method) of every column that tells of a prediction as a whole: ``seconds``, ``peak_rss``,
    ``megapixels``, ``nearest_guide`` …, as far as they are there."""

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        methods: Sequence[str] = (),
        protocols: Sequence[str] = (),
        sites: Sequence[str] = (),
    ) -> Scores:
        """The scores of a benchmark's tidy table.

        Parameters
        ----------
        table
            See :mod:`sitsfuse.benchmarking.results`.
        methods, protocols, sites
            Their order; those not named come behind, those without a row nowhere.
        """
        table = _of_one_kind(table)
        dates = table["date"].astype(str).str.slice(0, 10)
        pair, where = _codes([table["site"], table["target"], dates])
        first = np.unique(pair, return_index=True)[1]
        pairs = where.set_axis(["site", "target", "date"], axis=1)
        pairs["ratio"] = table["ratio"].to_numpy(float)[first].round(2)
        same = table["same_day"].to_numpy(bool) if "same_day" in table else np.ones(len(table), bool)
        pairs["same_day"] = same[first]
        names = sorted(set(pairs["site"]), key=lambda s: (list(sites).index(s) if s in sites else len(sites), s))
        ranks = pairs.assign(site=pairs["site"].map({s: k for k, s in enumerate(names)}))
        order = ranks.sort_values(["site", "ratio", "target", "date"], ascending=[True, False, True, True]).index
        place = np.empty(len(order), int)
        place[order.to_numpy()] = np.arange(len(order))
        key, kinds = _codes([table["metric"], table["band"], table["stratum"]])
        method, ours = _ordered(table["method"], methods)
        protocol, asked = _ordered(table["protocol"], protocols)
        shape = len(asked), len(pairs), len(ours)
        values = np.full((*shape, len(kinds)), np.nan)
        values[protocol, place[pair], method, key] = table["value"].to_numpy(float)
        costs = {}
        for name in ("seconds", "cpu_seconds", "peak_rss", "megapixels", "nearest_guide"):
            if name in table:
                costs[name] = np.full(shape, np.nan)
                costs[name][protocol, place[pair], method] = table[name].to_numpy(float)
        keys = {(str(a), str(b), str(c)): k for k, (a, b, c) in enumerate(kinds.itertuples(index=False))}
        return cls(values, pairs.loc[order].reset_index(drop=True), asked, ours, keys, costs)

    def get(self, measure: Measure, protocol: str = STANDARD) -> F64Array:
        """(pair, method) values of a measure; NaN where there is none."""
        if measure.key not in self.keys or protocol not in self.protocols:
            return np.full(self.values.shape[1:3], np.nan)
        return self.values[self.protocols.index(protocol), :, :, self.keys[measure.key]]

    def one(self, measure: Measure, method: str, protocol: str = STANDARD) -> F64Array:
        """(pair,) values of a method; NaN if it is not there."""
        values = self.get(measure, protocol)
        return values[:, self.methods.index(method)] if method in self.methods else np.full(len(values), np.nan)

    @property
    def ratios(self) -> list[float]:
        """Ratios of HR and LR pixels, the largest first."""
        return sorted({float(r) for r in self.pairs["ratio"]}, reverse=True)

    @property
    def sites(self) -> list[str]:
        """Names of the sites."""
        return [str(s) for s in dict.fromkeys(self.pairs["site"])]

    @property
    def bands(self) -> list[str]:
        """Bands of which there are errors, in the order of the spectrum as far as it is known, without the pooled."""
        found = dict.fromkeys(b for _, b, _ in self.keys if b not in ("all", "ndvi"))
        known = ["blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16", "swir22"]
        bands = sorted(found, key=lambda b: known.index(b) if b in known else len(known))
        return bands + (["ndvi"] if any(b == "ndvi" for _, b, _ in self.keys) else [])

    def at(self, ratio: float | None) -> npt.NDArray[np.bool_]:
        """(pair,) which are of a ratio; all for None."""
        if ratio is None:
            return np.ones(len(self.pairs), bool)
        return np.asarray(np.isclose(self.pairs["ratio"].to_numpy(float), ratio), bool)

    def headline(self, ratio: float | None = None) -> list[Measure]:
        """Measures to compare methods by, at a ratio or over all: those usual, as far as they are there.

        Where a band is not there, of all bands or else of the first: sites of one ratio may have other bands than
        those of another.
        """
        found = []
        parts = [self.at(r) for r in (self.ratios if ratio is None else [ratio])]
        for measure in HEADLINE:
            bands = [measure.band, "all", *self.bands]
            near = (Measure(measure.metric, b) for b in bands)
            found += [m for m in near if all(np.isfinite(self.get(m)[at]).any() for at in parts)][:1]
        return list(dict.fromkeys(found))


def _of_one_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Without errors over all bands of sites whose only band is an index: these are no reflectances.

    They stand in the rows of the index as well.
    """
    bands = table.groupby("site")["band"].agg(set)
    indices = [site for site, held in bands.items() if held - {"all"} == {"ndvi"}]
    mixed = table["site"].isin(indices) & (table["band"] == "all") & table["metric"].isin(OF_VALUES)
    return table[~mixed] if indices else table


def _codes(columns: Sequence[pd.Series[Any]]) -> tuple[Codes, pd.DataFrame]:
    """Number the distinct rows of some columns: (row,) numbers, and the distinct rows by number."""
    number, kinds = np.zeros(len(columns[0]), np.int64), []
    for column in columns:
        codes, names = pd.factorize(column)
        kinds.append(np.asarray(names).astype(str))
        number = number * max(len(names), 1) + codes
    distinct, found = np.unique(number, return_inverse=True)
    parts = []
    for names in reversed(kinds):
        parts.append(names[distinct % len(names)])
        distinct = distinct // len(names)
    return found, pd.DataFrame(dict(enumerate(reversed(parts))))


def _ordered(column: pd.Series[Any], order: Sequence[str]) -> tuple[Codes, tuple[str, ...]]:
    """Number the names in a column: by a given order, then by their first appearance."""
    codes, found = pd.factorize(column)
    names = [str(n) for n in found]
    kept = [n for n in order if n in names] + [n for n in names if n not in order]
    return np.array([kept.index(n) for n in names], np.int64)[codes], tuple(kept)


def summary(scores: Scores, metrics: Sequence[str], protocol: str = STANDARD) -> pd.DataFrame:
    """Means over the dates, per site, ratio, method, band and stratum.

    Returns
    -------
    pandas.DataFrame
        Columns ``site``, ``ratio``, ``method``, ``band``, ``stratum``, ``dates`` and a column per metric, in that
        order; rows without any value are left out.
    """
    present = [m for m in metrics if any(key[0] == m for key in scores.keys)]
    places = sorted({key[1:] for key in scores.keys if key[0] in present}, key=lambda p: _place(p, scores))
    frames = []
    kinds = scores.pairs[["site", "ratio"]].drop_duplicates()
    for site, ratio in kinds.itertuples(index=False):
        rows = scores.at(ratio) & (scores.pairs["site"] == site).to_numpy()
        for band, stratum in places:
            stack = np.stack([scores.get(Measure(m, band, stratum), protocol)[rows] for m in present])
            known = np.isfinite(stack)
            counts = known.sum(axis=1)
            with np.errstate(invalid="ignore"):
                means = np.where(known, stack, 0).sum(axis=1) / np.where(counts, counts, np.nan)
            frame = pd.DataFrame(means.T, columns=present)
            head = {"site": site, "ratio": ratio, "method": list(scores.methods), "band": band, "stratum": stratum}
            frame = pd.DataFrame(head | {"dates": counts.max(axis=0)}).join(frame)
            frames.append(frame[frame["dates"] > 0])
    found = pd.concat(frames, ignore_index=True)
    order = {m: k for k, m in enumerate(scores.methods)}
    sites = {s: k for k, s in enumerate(scores.sites)}
    by = pd.DataFrame({"s": found["site"].map(sites), "r": -found["ratio"], "m": found["method"].map(order)})
    return found.loc[by.sort_values(["s", "r", "m"], kind="stable").index].reset_index(drop=True)


def _place(place: tuple[str, ...], scores: Scores) -> tuple[int, int]:
    """Order of a band and stratum."""
    bands, strata = ["all", *scores.bands], ["all", "low", "high"]
    band, stratum = place
    return (
        bands.index(band) if band in bands else len(bands),
        strata.index(stratum) if stratum in strata else len(strata),
    )
