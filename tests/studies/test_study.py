"""Studies find what was planted, agree with a direct run by hand, and tell levels that slow loops confirm."""

import zlib

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

import sitsfuse
from sitsfuse.benchmarking.measures import EDGES, NDVI, RMSE, Measure
from sitsfuse.benchmarking.results import Results
from sitsfuse.core.site import make_site
from sitsfuse.errors import InputError
from sitsfuse.studies import study
from sitsfuse.studies.curves import Curve, competitive, crossing, curves, observations, verdict
from sitsfuse.studies.disturbances import Disturbance
from sitsfuse.writers import write_site
from tests.preparation.test_page import Page

MEASURES = [NDVI, RMSE, EDGES]


def of(table, measure):
    """The rows of a measure."""
    return table[(table["metric"] == measure.metric) & (table["band"] == measure.band) & (table["stratum"] == "all")]


def told(out):
    """Curves by variant, method and measure."""
    results = Results(out)
    about = results.config.study
    found = curves(observations(results.table(), about, MEASURES), about, MEASURES)
    return {(c.variant, c.method, c.measure): c for c in found}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with guides every five days."""
    path = tmp_path_factory.mktemp("sites") / "here.zarr"
    made = sitsfuse.simulate(
        size=60, guides=13, guide_revisit=5, target_revisit=3, targets=5, seed=4, cloud_cover=0.0, guide_shift=0.0,
        target_shift=0.0,
    )  # fmt: skip
    write_site(made, path)
    return path


@pytest.fixture(scope="module")
def registration(site, tmp_path_factory):
    out = tmp_path_factory.mktemp("registration") / "results"
    study(
        "registration", [site], out, methods=["temporal", "spatial", "difference"], variants=["between"],
        levels=[0.5, 1.0], seeds=2, max_dates=1, jobs=0,
    )  # fmt: skip
    return out


def test_a_study_agrees_with_a_direct_run(site, registration):
    """Half an LR pixel of misregistration made by hand, fused and evaluated without the study."""
    results = Results(registration)
    table = results.table()
    given = sitsfuse.open_site(site)
    guide, target, reference = (given[g].to_dataset() for g in ("guide", "target", "reference"))
    (date,) = table["date"].unique()[:1]
    moved = Disturbance.parse("between:0.5#1")(given)["target"]["reflectance"].values
    # The direction is random, its size is not: found again by fitting a shift of the whole image.
    image, there = target["reflectance"].values[0, 3], moved[0, 3]
    best = min(
        (np.abs(ndimage.shift(image, (0.5 * np.sin(a), 0.5 * np.cos(a)), order=3, mode="nearest") - there).max(), a)
        for a in np.linspace(0, 2 * np.pi, 3601)
    )
    assert best[0] < 1e-3
    angle = best[1]
    by_hand = np.stack(
        [
            [ndimage.shift(b, (0.5 * np.sin(angle), 0.5 * np.cos(angle)), order=3, mode="nearest") for b in k]
            for k in target["reflectance"].values
        ]
    )
    displaced = target.assign(reflectance=(target["reflectance"].dims, by_hand.astype(np.float32)))
    others = guide.isel(time=guide["time"].values.astype("datetime64[D]") != np.datetime64(date, "D"))
    fused = sitsfuse.fuse(make_site(others, displaced), method="difference", dates=[date])
    truth = reference.sel(time=[date])
    rows = sitsfuse.evaluate(fused, truth, target)
    disturbed = table[
        (table["protocol"] == "between:0.5#1") & (table["method"] == "difference") & (table["date"] == date)
    ]
    for measure in MEASURES:
        ours, theirs = (float(of(t, measure)["value"].iloc[0]) for t in (rows, disturbed))
        assert theirs == pytest.approx(ours, rel=0.01)


def by_hand(kind, site):
    """Guides and LR series, disturbed without the code of the study where that can be."""
    guide, target = (site[g].to_dataset() for g in ("guide", "target"))
    if kind == "revisit":  # every 30 days of a guide each 5: the first is found among those that fit
        since = (guide["time"].values - guide["time"].values[0]).astype("timedelta64[D]").astype(int)
        rng = np.random.default_rng([zlib.crc32(b"regular"), 0])
        first = rng.uniform() * 30
        kept = [k for k, day in enumerate(since) if abs((day - first + 15) % 30 - 15) < 2.5 and day > first - 15]
        return guide.isel(time=kept), target
    if kind == "radiometry":
        sign = 1 if np.random.default_rng([zlib.crc32(b"gain"), 0]).uniform() < 0.5 else -1
        return guide, target.assign(reflectance=target["reflectance"] * np.float32(1 + sign * 0.05))
    changed = Disturbance.parse({"clouds": "masked-guides:0.4#0", "noise": "noise-targets:0.01#0"}[kind])(site)
    return changed["guide"].to_dataset(), changed["target"].to_dataset()


@pytest.mark.parametrize(
    ("kind", "variant", "level"),
    [
        ("revisit", "regular", 30),
        ("radiometry", "gain", 0.05),
        ("clouds", "masked-guides", 0.4),
        ("noise", "noise-targets", 0.01),
    ],
)
def test_every_study_agrees_with_a_direct_run(site, tmp_path, kind, variant, level):
    table = study(
        kind, [site], tmp_path / "r", methods=["difference"], variants=[variant], levels=[level], seeds=1, max_dates=1,
        jobs=0,
    )  # fmt: skip
    given = sitsfuse.open_site(site)
    (date,) = table["date"].unique()
    guide, target = by_hand(kind, given)
    guide = guide.isel(time=guide["time"].values.astype("datetime64[D]") != np.datetime64(date, "D"))
    fused = sitsfuse.fuse(make_site(guide, target), method="difference", dates=[date])
    rows = sitsfuse.evaluate(fused, given["reference"].to_dataset().sel(time=[date]), given["target"].to_dataset())
    disturbed = table[table["protocol"] == f"{variant}:{level:g}#0"]
    for measure in MEASURES:
        ours, theirs = (float(of(t, measure)["value"].iloc[0]) for t in (rows, disturbed))
        assert theirs == pytest.approx(ours, rel=1e-4)


def test_a_method_that_ignores_lr_images_is_flat(registration):
    found = told(registration)
    for measure in MEASURES:
        flat = found["between", "temporal", measure]
        np.testing.assert_array_equal(flat.means, flat.means[0])
        assert np.isinf(verdict(flat).level)
    # One that has nothing else is not.
    errors = found["between", "spatial", RMSE]
    assert (np.diff(errors.means) > 0).all()
    assert 0 < verdict(errors).level < 1
    assert (errors.pairs, errors.levels.tolist()) == (2, [0, 0.5, 1])


def test_a_land_that_does_not_change_does_not_care_for_the_revisit(tmp_path):
    """A planted truth: the same landscape under every guide and on every date."""
    made = sitsfuse.simulate(
        size=60, guides=13, guide_revisit=5, target_revisit=3, targets=5, seed=4, cloud_cover=0.0, guide_shift=0.0,
        guide_noise=0.0,
    )  # fmt: skip
    still = {}
    for role in made.children:
        series = made[role].to_dataset()
        values = np.repeat(series["reflectance"].values[:1], series.sizes["time"], axis=0)
        still[role] = series.assign(reflectance=(series["reflectance"].dims, values))
    still["reference"] = still["reference"].assign(
        reflectance=(
            still["reference"]["reflectance"].dims,
            np.repeat(still["guide"]["reflectance"].values[:1], still["reference"].sizes["time"], axis=0),
        )
    )
    write_site(make_site(still["guide"], still["target"], still["reference"]), tmp_path / "still.zarr")
    study(
        "revisit", [tmp_path / "still.zarr"], tmp_path / "r", methods=["temporal"], variants=["regular"],
        levels=[5, 20, 30], seeds=2, max_dates=2, jobs=0,
    )  # fmt: skip
    flat = told(tmp_path / "r")["regular", "temporal", RMSE]
    assert flat.means == pytest.approx(np.zeros(3), abs=1e-6)


def test_land_that_changes_does(site, tmp_path):
    study(
        "revisit", [site], tmp_path / "r", methods=["temporal"], variants=["regular"], levels=[5, 30], seeds=2,
        max_dates=2, jobs=0,
    )  # fmt: skip
    errors = told(tmp_path / "r")["regular", "temporal", RMSE]
    assert errors.means[1] > 1.5 * errors.means[0]
    table = Results(tmp_path / "r").table()
    far = table.groupby("protocol")["nearest_guide"].mean()
    assert far["regular:30#0"] > far["regular:5#0"]


def test_a_study_goes_on_where_it_was(site, registration):
    results = Results(registration)
    before = {u: results.path.joinpath("parts", u.place) for u in results.units()}
    stamps = {u: p.with_name(f"{p.name}.parquet").stat().st_mtime_ns for u, p in before.items()}
    study(
        "registration", [site], registration, methods=["temporal", "spatial", "difference"], variants=["between"],
        levels=[0.5, 1.0], seeds=2, max_dates=1, jobs=0,
    )  # fmt: skip
    assert {u: p.with_name(f"{p.name}.parquet").stat().st_mtime_ns for u, p in before.items()} == stamps
    # The base has one seed, the two levels two each: 5 disturbances × 1 date × 3 methods.
    assert len(stamps) == 15


def test_a_study_may_be_given_more_levels(site, tmp_path):
    for levels in ([0.5], [0.25]):
        study(
            "registration", [site], tmp_path / "r", methods=["temporal"], variants=["between"], levels=levels, seeds=1,
            max_dates=1, jobs=0,
        )  # fmt: skip
    assert told(tmp_path / "r")["between", "temporal", RMSE].levels.tolist() == [0, 0.25, 0.5]


def test_the_page_tells_the_levels(registration):
    page = Page(sitsfuse.report(registration))
    assert page.sections() == ["verdicts", "curves", "numbers", "settings"]
    level = verdict(told(registration)["between", "difference", RMSE]).level
    rows = pd.read_csv(registration / "verdicts.csv")
    row = rows[(rows["method"] == "difference") & (rows["measure"] == "RMSE")].iloc[0]
    assert row["level"] == pytest.approx(level, rel=1e-4)
    assert f"{level:.3f}" in page.text
    assert "LR pixels" in page.text
    assert "there are no intervals" in page.text  # one date of one site
    points = pd.read_csv(registration / "curves.csv")
    assert len(points) == 3 * 3 * 3
    assert (registration / "report_figures" / "between-rmse-all.svg").is_file()


def test_other_ratios_and_scales_are_sites_of_their_own(site, tmp_path):
    for kind, levels in (("ratio", [2.5, 5]), ("scale", [1, 2])):
        out = tmp_path / kind
        table = study(kind, [site], out, methods=["spatial", "difference"], levels=levels, max_dates=1, jobs=0)
        assert table.attrs["failures"] == 0
        found = told(out)[kind, "spatial", RMSE]
        assert found.levels.tolist() == levels
        sitsfuse.report(out)
    assert (out / "derived" / "here@2.zarr").is_dir()


def test_bad_input(site, registration, tmp_path):
    for match, arguments in (
        ("'tides' is unknown", ("tides", [site])),
        ("not among the simulated sites", ("noise", ["atlantis"])),
    ):
        with pytest.raises(InputError, match=match):
            study(*arguments, tmp_path / "r", jobs=0)
    with pytest.raises(InputError, match="of no study of the noise"):
        study("noise", [site], tmp_path / "r", variants=["between"], jobs=0)
    with pytest.raises(InputError, match="holds a study of the registration"):
        study("noise", [site], registration, methods=["temporal"], jobs=0)
    with pytest.raises(InputError, match="holds a study of the registration"):
        sitsfuse.benchmark([site], registration, methods=["temporal"], jobs=0)


# --- curves ----------------------------------------------------------------------------------------------------


def a_curve(means, levels=(0, 1, 2, 4), measure=RMSE, draws=None, variant="between", method="m"):
    means = np.array(means, float)
    return Curve(variant, method, measure, np.array(levels, float), means, draws, 9, 9)


def test_levels_are_interpolated():
    levels, values = np.array([0.0, 1, 2, 4]), np.array([1.0, 1.04, 1.2, 0.9])
    for factor in (1.02, 1.04, 1.1, 1.19):
        fine = np.linspace(0, 4, 400_001)
        slow = fine[np.argmax(np.interp(fine, levels, values) >= factor - 1e-12)]
        assert crossing(levels, values, factor) == pytest.approx(slow, abs=1e-4)
    assert np.isinf(crossing(levels, values, 1.3))
    assert crossing(levels, np.array([1, 0.95, 0.85, 0.8]), 0.9) == pytest.approx(1.5)


def test_intervals_are_those_of_the_draws():
    rng = np.random.default_rng(0)
    slopes = rng.uniform(0.05, 0.2, 999)
    draws = 1 + slopes[:, None] * np.array([0, 1, 2, 4])
    found = verdict(a_curve(draws.mean(axis=0), draws=draws))
    exact = 0.1 / slopes
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(exact, (0.025, 0.975))), rel=0.02)
    weak = verdict(a_curve(draws.mean(axis=0), draws=np.vstack([draws, np.ones((99, 4))])))
    assert np.isinf(weak.high)
    assert verdict(a_curve([1, 1, 1, 1], measure=Measure("sam", "all"))) is None


def test_super_resolution_is_competitive_up_to_a_ratio():
    ratios = (1.5, 2.5, 5, 10)
    single = a_curve([1.0, 1.0, 1.5, 2.0], ratios, variant="ratio", method="spatial")
    first = a_curve([1.2, 1.1, 1.2, 2.0], ratios, variant="ratio", method="robot")
    second = a_curve([1.0, 1.0, 1.0, 1.0], ratios, variant="ratio", method="difference")
    temporal = a_curve([0.1, 0.1, 0.1, 0.1], ratios, variant="ratio", method="temporal")
    found = competitive([single, first, second, temporal])
    # Against 1 it is 1.0 at ×2.5 and 1.5 at ×5: 1.1 a fifth of the way.
    assert found.level == pytest.approx(3.0)
    assert competitive([first, second]) is None
    assert competitive([single, temporal]) is None
