"""Means, intervals, tests and ranks are those of slow loops, of formulas and of tables of critical values."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.benchmarking.measures import EDGES, NDVI, RMSE, Measure
from sitsfuse.benchmarking.ranking import ranking
from sitsfuse.benchmarking.scores import Scores, summary
from sitsfuse.stats.paired import block_length, bootstrap, holm, interval, scene_means, scenes, signed_rank
from tests.helpers.make_results import BANDS, DATES, METHODS, error_of, make_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"), samples=False)


@pytest.fixture(scope="module")
def scores(results):
    return Scores.of(results.table(), METHODS, results.config.protocols)


def a_table(values, metric="rmse", band="all", sites=None, ratio=5.0):
    """A tidy table of (pair, method) values; NaN has no row."""
    rows = []
    for k, j in itertools.product(*map(range, values.shape)):
        site = f"s{0 if sites is None else sites[k]}"
        row = {"site": site, "target": "t", "ratio": ratio, "protocol": "standard", "method": f"m{j}"}
        row |= {"date": str(np.datetime64("2020-01-01") + k), "band": band, "stratum": "all", "metric": metric}
        if np.isfinite(values[k, j]):
            rows.append(row | {"value": values[k, j], "same_day": True})
    return pd.DataFrame(rows)


def test_scores_are_the_rows_of_the_table(results, scores):
    table = results.table()
    for row in table.sample(300, random_state=1).itertuples():
        at = (scores.pairs[["site", "target", "date"]] == [row.site, row.target, row.date]).all(axis=1)
        found = scores.one(Measure(row.metric, row.band, row.stratum), row.method, row.protocol)[at.to_numpy()]
        assert found.tolist() == [row.value]
        place = scores.protocols.index(row.protocol), int(np.flatnonzero(at)[0]), scores.methods.index(row.method)
        assert scores.costs["seconds"][place] == row.seconds
    assert np.isfinite(scores.values).sum() == len(table)
    assert scores.methods == METHODS
    assert scores.ratios == [5.0, 2.5]
    assert scores.bands == [*BANDS, "ndvi"]
    assert not scores.pairs["same_day"][scores.pairs["date"] == DATES[0]].any()
    assert scores.sites == ["arm", "sudoe-4"]
    assert Scores.of(table, sites=["sudoe-4"]).sites == ["sudoe-4", "arm"]
    assert np.isnan(scores.one(RMSE, "nobody")).all()
    assert np.isnan(scores.get(RMSE, "no-lr")).all()


def test_order_of_rows_and_kind_of_dates_do_not_matter(results, scores):
    table = results.table().sample(frac=1, random_state=3)
    table["date"] = pd.to_datetime(table["date"])
    again = Scores.of(table, METHODS, results.config.protocols)
    pd.testing.assert_frame_equal(again.pairs, scores.pairs)
    for key, place in scores.keys.items():
        np.testing.assert_array_equal(again.values[..., again.keys[key]], scores.values[..., place])


# --- intervals -------------------------------------------------------------------------------------------------


def test_blocks_are_as_long_as_the_cube_root():
    assert [block_length(n) for n in (1, 3, 8, 27, 39, 64)] == [1, 1, 2, 3, 3, 4]


def test_interval_of_one_site_is_that_of_blocks_drawn_one_by_one():
    """A slow loop over blocks has the same distribution of means."""
    rng = np.random.default_rng(5)
    values = np.cumsum(rng.normal(size=20))[:, None]
    fast = bootstrap(values, np.zeros(20), np.arange(20), 4000)[:, 0]
    slow = np.empty(4000)
    for k in range(4000):
        taken = []
        while len(taken) < 20:
            start = rng.integers(20)
            taken += [(start + i) % 20 for i in range(3)]
        slow[k] = values[taken[:20], 0].mean()
    assert fast.mean() == pytest.approx(slow.mean(), abs=4 * slow.std() / 60)
    assert fast.std() == pytest.approx(slow.std(), rel=0.06)


def test_sites_are_drawn_as_a_whole():
    """Of two constant sites with as many dates, the second is drawn 0, 1 or 2 times: 1/4, 1/2, 1/4."""
    values = np.repeat([0.0, 1.0], 10)[:, None]
    means = bootstrap(values, np.repeat(["a", "b"], 10), np.tile(np.arange(10), 2), 8000)[:, 0]
    shares = [(np.isclose(means, m)).mean() for m in (0, 0.5, 1)]
    assert sum(shares) == 1
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_methods_share_their_draws_and_ratios_their_dates():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 1))
    dates = np.arange(12)
    means = bootstrap(np.hstack([values, values + 3]), np.zeros(12), dates, 50)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 3)
    # At a second ratio all is the other way round: what is drawn together cancels.
    twice = bootstrap(np.vstack([values, -values]), np.zeros(24), np.tile(dates, 2), 50)
    np.testing.assert_allclose(twice, 0, atol=1e-12)


def test_the_interval_covers_a_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(150):
        values = rng.normal(size=(60, 1))
        low, high = interval(bootstrap(values, np.repeat(np.arange(12), 5), np.tile(np.arange(5), 12), 400))
        covered += bool(low[0] <= 0 <= high[0])
    assert 0.85 <= covered / 150 <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=40))
def test_scenes_are_blocks_of_dates_of_a_site(pairs):
    site, date = (np.array(c) for c in zip(*pairs, strict=True))
    number = scenes(site, date)
    assert sorted(set(number)) == list(range(number.max() + 1))
    for s in set(site):
        days = sorted(set(date[site == s]))
        held = [set(number[(site == s) & (date == d)]) for d in days]
        assert all(len(h) == 1 for h in held)  # whatever the ratio
        order = [next(iter(h)) for h in held]
        assert order == sorted(order)
        sizes = np.unique(order, return_counts=True)[1]
        assert np.ptp(sizes) <= 1
        assert (len(sizes) - 1) ** 3 < len(days) ** 2 <= len(sizes) ** 3
    values = np.random.default_rng(0).normal(size=(len(site), 2))
    slow = np.stack([values[number == k].mean(axis=0) for k in range(number.max() + 1)])
    np.testing.assert_allclose(scene_means(values, number), slow)


def test_errors_of_an_index_are_not_averaged_with_those_of_reflectance():
    """A site of NDVI alone at ×8 and one of reflectance at ×1.5: nothing can be ranked over both ratios."""
    rows = []
    for site, ratio, bands in (("index", 8.0, ("ndvi", "all")), ("bands", 1.5, ("nir", "swir16", "all"))):
        for method, band in itertools.product(("x", "y"), bands):
            row = {"site": site, "target": "t", "ratio": ratio, "protocol": "standard", "method": method}
            row |= {"date": "2020-01-01", "band": band, "stratum": "all", "metric": "rmse", "same_day": True}
            rows.append(row | {"value": 0.08 if site == "index" else 0.03})
    scores = Scores.of(pd.DataFrame(rows))
    assert scores.headline(8.0) == [Measure("rmse", "ndvi")]
    assert scores.headline(1.5) == [RMSE]
    assert scores.headline() == []
    assert not ranking(scores).places
    assert (Measure("rmse", "ndvi").unit, RMSE.unit, EDGES.unit) == ("NDVI", "reflectance", "–")


# --- tests -----------------------------------------------------------------------------------------------------


def exact(differences, alternative):
    """The signed-rank test by all 2^n signs, of distinct sizes."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    seen = ranks[differences > 0].sum()
    signs = np.array(list(itertools.product((0, 1), repeat=len(ranks))))
    sums = signs @ ranks
    less, greater = (sums <= seen).mean(), (sums >= seen).mean()
    return {"less": less, "greater": greater, "two-sided": min(1, 2 * min(less, greater))}[alternative]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 1000), min_size=3, max_size=9, unique=True), st.randoms(use_true_random=False))
def test_signed_rank_is_that_of_all_signs(sizes, random):
    differences = np.array([s * random.choice((-1, 1)) for s in sizes], float)
    for alternative in ("less", "greater", "two-sided"):
        assert signed_rank(differences, alternative) == pytest.approx(exact(differences, alternative))


def test_signed_rank_of_nothing_is_no_evidence():
    assert signed_rank(np.zeros(9)) == 1
    assert signed_rank(np.array([np.nan])) == 1
    known = np.array([1.0, 2, 3, 4, 5, 6, 7.5])
    assert signed_rank(np.append(known, [0, np.nan])) == signed_rank(known) == pytest.approx(2 / 2**7)


def test_holm_of_a_textbook_example():
    """The example of Holm's procedure with chances 0.01, 0.04, 0.03, 0.005."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


# --- the ranking -----------------------------------------------------------------------------------------------


def test_ranking_of_known_numbers(scores):
    at5, at2 = ranking(scores, 5.0), ranking(scores, 2.5)
    assert [p.method for p in at5.places][:2] == ["ddi", "starfm"]
    assert (at5.pairs, at5.left_out, at5.missing, at5.apart) == (7, 1, {"carn": 1}, {})
    assert (at2.pairs, at2.left_out, at2.missing) == (8, 0, {})
    assert at2.sites == 2
    # By radiometry (3 measures) temporal is the worst of five, by edges (2) the second.
    rank = {p.method: p.rank for p in at2.places}
    assert rank == pytest.approx({"ddi": 1, "carn": 2.8, "starfm": 3, "temporal": 3.8, "spatial": 4.4})
    pairs = itertools.product(range(2), range(4))
    carn = next(p for p in at2.places if p.method == "carn").cells[RMSE]
    assert carn.mean == pytest.approx(
        np.mean([error_of("carn", "all", "all", 2.5, s, d, "standard") for s, d in pairs])
    )
    assert carn.low < carn.mean < carn.high
    # Four dates are three blocks, of two sites six scenes of one sign: 2 / 2^6, times four methods.
    assert at2.scenes == 6
    assert carn.chance == pytest.approx(4 * 2 / 2**6)
    assert carn.tied
    assert [p.method for p in at2.places if p.cells[EDGES].best] == ["ddi"]


def test_a_pair_that_a_method_lacks_is_left_out_for_all():
    values = np.array([[1.0, 2.0], [1.0, np.nan], [3.0, 4.0], [5.0, 6.0]])
    held = ranking(Scores.of(a_table(values)))
    assert (held.pairs, held.left_out, held.missing) == (3, 1, {"m1": 1})
    assert [p.cells[RMSE].mean for p in held.places] == [3.0, 4.0]
    # Three pairs say nothing: no test, no mark, no interval.
    assert not held.places[1].cells[RMSE].tied
    assert held.places[1].cells[RMSE].interval is None


def test_a_method_with_few_pairs_does_not_shrink_the_comparison():
    values = np.arange(30.0).reshape(10, 3)
    values[2:, 2] = np.nan
    held = ranking(Scores.of(a_table(values)))
    assert held.apart == {"m2": 2}
    assert (held.pairs, held.left_out) == (10, 0)


def test_more_is_better_of_structure_and_less_of_errors():
    values = np.column_stack([np.linspace(0.5, 0.6, 8), np.linspace(0.7, 0.9, 8)])
    table = pd.concat([a_table(values, m, b) for m, b in (("structural", "red"), ("ce90", "ndvi"))])
    held = ranking(Scores.of(table))
    best = {m.metric: p.method for p in held.places for m, c in p.cells.items() if c.best}
    assert best == {"structural": "m1", "ce90": "m0"}
    assert [p.rank for p in held.places] == [1.5, 1.5]
    assert held.measures == (NDVI, EDGES)


def test_a_method_like_the_best_is_marked():
    rng = np.random.default_rng(4)
    base = rng.uniform(1, 2, 12)
    values = np.column_stack([base, base + rng.choice((-1, 1), 12) * rng.uniform(0.1, 0.2, 12), base + 1])
    cells = {p.method: p.cells[RMSE] for p in ranking(Scores.of(a_table(values, sites=range(12)))).places}
    assert cells["m0"].interval is not None
    assert not cells["m2"].tied
    assert cells["m1"].tied != cells["m0"].tied
    assert cells["m1"].best != cells["m0"].best


def test_without_red_another_band_stands_in():
    values = np.ones((3, 2))
    table = pd.concat([a_table(values, "rmse", "green"), a_table(values, "structural", "green")])
    assert Scores.of(table).headline() == [Measure("rmse", "green"), Measure("structural", "green")]


def test_summary_is_the_mean_over_the_dates(results, scores):
    found = summary(scores, ["rmse", "structural", "unknown"])
    table = results.table().query("protocol == 'standard'")
    means = table.groupby(["site", "ratio", "method", "band", "stratum", "metric"])["value"].mean()
    assert len(found) == 2 * 2 * 5 * 6 * 3
    for row in found.sample(40, random_state=0).itertuples():
        head = (row.site, row.ratio, row.method, row.band, row.stratum)
        assert row.rmse == pytest.approx(means[(*head, "rmse")])
        assert row.structural == pytest.approx(means[(*head, "structural")])
    lost = found.query("site == 'arm' and ratio == 5 and method == 'carn'")
    assert set(lost["dates"]) == {3}
    assert list(found.columns) == ["site", "ratio", "method", "band", "stratum", "dates", "rmse", "structural"]


def test_sites_of_a_ratio_may_lack_bands():
    """At a ratio what is there counts, over all ratios what is there at each."""
    rows = [
        {"site": site, "date": "2019-05-01", "ratio": ratio, "protocol": "standard", "method": m, "band": b,
         "stratum": "all", "metric": metric, "value": 0.1, "seconds": 1.0, "peak_rss": 1.0, "megapixels": 1.0,
         "same_day": True, "nearest_guide": 3.0, "target": "t"}
        for site, ratio, bands in (("a", 5.0, ("red", "ndvi", "all")), ("b", 1.5, ("swir16", "all")))
        for b in bands
        for m in ("x", "y")
        for metric in ("rmse", "ce90", "structural")
    ]  # fmt: skip
    scores = Scores.of(pd.DataFrame(rows))
    assert [m.key for m in scores.headline(5.0)] == [
        ("rmse", "all", "all"),
        ("ce90", "ndvi", "all"),
        ("structural", "red", "all"),
    ]
    assert [m.key for m in scores.headline(1.5)] == [
        ("rmse", "all", "all"),
        ("ce90", "all", "all"),
        ("structural", "all", "all"),
    ]
    assert scores.headline() == scores.headline(1.5)
    assert len(ranking(scores, 1.5).places) == 2
