"""Verdicts on claims, of scores that are made to confirm them, to refute them and to say nothing."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sitsfuse.benchmarking.claims import CONFIRMED, REFUTED, UNDECIDED, UNTESTABLE, claims, guide_gaps
from sitsfuse.benchmarking.configuration import Configuration, PlannedSite
from sitsfuse.benchmarking.scores import Scores
from tests.helpers.make_results import METHODS, make_results

LIMITS = {"blue": 0.01, "green": 0.01, "red": 0.01, "nir": 0.15}


def a_run(quality, pairs=12, ratio=5.0, noise=0.02, protocols=("standard",), ce99=0.5, seed=0, site=None):
    """Scores of methods whose errors are ``quality`` times those of a scene, with a little noise.

    Every pair is of a site of its own, unless ``site`` names one for all.

    ``ce99`` is the CE99 of every band over its limit, or one number per pair.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for k, protocol in itertools.product(range(pairs), protocols):
        scene = rng.uniform(0.5, 2)
        head = {
            "site": site or f"s{k}",
            "target": f"x{ratio:g}",
            "ratio": ratio,
            "protocol": protocol,
            "same_day": True,
        }
        head["date"] = str(np.datetime64("2020-03-06") + 10 * k)
        for method, (errors, edges) in quality.items():
            jitter = np.exp(rng.normal(0, noise, 3))
            share = ce99[k] if np.ndim(ce99) else ce99
            values = {
                ("rmse", "all"): 0.01 * scene * errors * jitter[0],
                ("ce90", "ndvi"): 0.04 * scene * errors * jitter[1],
                ("structural", "red"): 1 - 0.02 * scene * edges * jitter[2],
                **{("ce99", band): share * limit for band, limit in LIMITS.items()},
            }
            rows += [
                head | {"method": method, "metric": m, "band": b, "stratum": "all", "value": v}
                for (m, b), v in values.items()
            ]
    return pd.DataFrame(rows)


def judged(table, config=None):
    """The claims by number."""
    return dict(enumerate(claims(Scores.of(table), config or Configuration()), 1))


TRIVIAL = {"temporal": (2, 1.1), "spatial": (1.6, 3)}


@pytest.mark.parametrize(
    ("carn", "pairs", "verdict"),
    [
        ((1.4, 1.5), 12, CONFIRMED),
        ((0.7, 0.8), 12, REFUTED),
        ((1.4, 0.6), 12, UNDECIDED),  # radiometry is DDI's, edges are CARN's
        ((1.0, 1.0), 12, UNDECIDED),
        ((1.4, 1.5), 5, UNTESTABLE),
    ],
)
def test_ddi_against_carn(carn, pairs, verdict):
    claim = judged(a_run({"ddi": (1, 1), "carn": carn}, pairs))[1]
    assert claim.verdict == verdict
    if verdict == CONFIRMED:
        assert claim.numbers["pairs"] == 12
        assert claim.numbers["second's RMSE"] / claim.numbers["first's RMSE"] == pytest.approx(1.4, rel=0.03)
        assert "On 12 pairs" in claim.evidence


def test_ddi_against_carn_is_of_ratio_5():
    quality = {"ddi": (1, 1), "carn": (1.4, 1.5)}
    assert judged(a_run(quality, ratio=2.5))[1].verdict == UNTESTABLE
    assert judged(a_run(quality, ratio=4.8))[1].verdict == CONFIRMED


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.8, CONFIRMED), (1.04, CONFIRMED), (1.1, UNDECIDED), (1.3, REFUTED)],
)
def test_competitive_means_within_a_tenth(error, verdict):
    claim = judged(a_run({"ddi": (1, 1), "carn": (error, 1)}, 16, 2.5))[2]
    assert claim.verdict == verdict
    assert claim.numbers["quotient of RMSE"] == pytest.approx(error, rel=0.03)
    assert "1.1" in claim.criterion


def test_mixing():
    good = {"ddi": (1, 1), "starfm": (1.4, 1), **TRIVIAL}
    assert judged(a_run(good))[3].verdict == CONFIRMED
    assert judged(a_run(good))[3].numbers == {"comparisons": 4, "won": 4, "lost": 0}
    refuted = judged(a_run(good | {"efast": (3, 1)}))[3]
    assert refuted.verdict == REFUTED
    assert "Worse: efast at ×5 in RMSE and efast at ×5 in CE90 NDVI" in refuted.evidence
    assert judged(a_run(good | {"efast": (2, 1)}))[3].verdict == UNDECIDED
    # Spatial interpolation and super-resolution mix nothing: however bad, they do not count.
    assert judged(a_run(good | {"spatial": (9, 9), "carn": (9, 9)}))[3].verdict == CONFIRMED
    assert judged(a_run({"ddi": (1, 1)}))[3].verdict == UNTESTABLE


def test_preparation_cannot_be_told_from_one_preparation():
    claim = judged(a_run({"ddi": (1, 1)}))[4]
    assert claim.verdict == UNTESTABLE
    assert "with and without" in claim.evidence


def every(days, since="2020-02-20", count=40):
    return [str(np.datetime64(since) + days * k) for k in range(count)]


def test_revisits():
    quality = {"ddi": (1, 1), **TRIVIAL}
    table = a_run(quality, 24, protocols=("standard", "guide-gap:20"))
    # Guides every 16 days, never on a predicted day.
    config = Configuration(sites={f"s{k}": PlannedSite(guides=tuple(every(16))) for k in range(24)})
    gaps = guide_gaps(Scores.of(table), config)
    assert set(gaps["standard"]) == {16.0}
    date = np.datetime64("2020-03-06")
    near = [d for d in every(16) if abs(np.datetime64(d) - date) >= np.timedelta64(10, "D")]
    before, after = (f(d for d in near if (d < str(date)) == side) for f, side in ((max, True), (min, False)))
    gap = np.datetime64(after) - np.datetime64(before)
    assert gaps["guide-gap:20"][0] == gap / np.timedelta64(1, "D")
    assert judged(table, config)[5].verdict == UNTESTABLE  # none of 20 to 30 days

    two = a_run(quality, 24)
    guides = every(16, count=8) + every(24, "2020-06-20")
    mixed = Configuration(sites={f"s{k}": PlannedSite(guides=tuple(guides)) for k in range(24)})
    claim = judged(two, mixed)[5]
    assert claim.verdict == CONFIRMED
    assert claim.numbers["pairs of 12–20 days"] >= 6
    worse = a_run(quality | {"ddi": (1.8, 1)}, 24)
    assert judged(worse, mixed)[5].verdict == REFUTED
    assert judged(two[two["method"] != "temporal"], mixed)[5].verdict == UNTESTABLE


def test_gaps_have_guides_on_both_sides():
    gaps = guide_gaps(
        Scores.of(a_run({"ddi": (1, 1)}, 3)),
        Configuration(sites={f"s{k}": PlannedSite(guides=("2020-01-01", "2020-03-20")) for k in range(3)}),
    )
    assert gaps["standard"].tolist()[0] == 79
    assert np.isnan(gaps["standard"][2])


@pytest.mark.parametrize(
    ("good", "verdict"),
    [(20, CONFIRMED), (16, UNDECIDED), (8, REFUTED)],
)
def test_small_errors(good, verdict):
    """20 of 20 scenes: chance 0.75^20 = 0.003; 16 of 20 are above 75 %, but may be chance."""
    ce99 = [0.9] * good + [1.1] * (20 - good)
    claim = judged(a_run({"ddi": (1, 1)}, 20, ce99=ce99))[6]
    assert claim.verdict == verdict
    assert claim.numbers["share"] == good / 20
    assert f"{good} of 20 predictions" in claim.evidence


def test_dates_and_ratios_of_one_site_are_no_independent_scenes():
    """Two dates at two ratios that all miss the limits: four predictions, which refuted with p = 0.0039."""
    one = pd.concat([a_run({"ddi": (1, 1)}, 2, ratio, ce99=1.1, site="s") for ratio in (5.0, 2.5)])
    claim = judged(one)[6]
    assert claim.verdict == UNTESTABLE
    assert "0 of 4 predictions meet all limits, of 2 independent scenes" in claim.evidence
    # Twelve dates of one site are six blocks.
    claim = judged(a_run({"ddi": (1, 1), "carn": (1.4, 1.5)}, 12, site="s"))[1]
    assert claim.verdict == UNDECIDED
    assert claim.numbers["p of RMSE"] == pytest.approx(3 * 2 / 2**6)


def test_small_errors_need_all_bands_and_take_the_same_day():
    table = a_run({"ddi": (1, 1)}, 20, ce99=[0.9] * 12 + [1.1] * 8)
    assert judged(table[table["band"] != "nir"])[6].verdict == UNTESTABLE
    table["same_day"] = table["date"] <= str(np.datetime64("2020-03-06") + 110)
    claim = judged(table)[6]
    assert claim.numbers["scenes"] == 12
    assert claim.numbers["share"] == 1


def test_of_a_folder_of_results(tmp_path):
    results = make_results(tmp_path, sites=8, samples=False)
    found = claims(Scores.of(results.table(), METHODS), results.config)
    # carn's errors are 1.3 and 1.04 times those of ddi.
    assert [c.verdict for c in found][:4] == [CONFIRMED, CONFIRMED, CONFIRMED, UNTESTABLE]
    assert found[1].numbers["quotient of RMSE"] == pytest.approx(1.04)
    # Of ddi's CE99 only nir stays below its limit everywhere.
    assert found[5].verdict == REFUTED
    assert (found[5].numbers["nir"], found[5].numbers["red"]) == (1.0, 0.0)
