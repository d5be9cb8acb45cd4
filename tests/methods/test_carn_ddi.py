"""carn+ddi: what each of the two contributes, pixel by pixel, and how the share is found."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from sitsfuse.core.grid import GridPair
from sitsfuse.core.loading import read
from sitsfuse.core.series import geobox, make_series
from sitsfuse.core.site import group, make_site, pair_of, target_alone
from sitsfuse.core.tiling import tile_window
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import Tile, carn_ddi
from sitsfuse.methods.carn import CARN
from sitsfuse.methods.carn_ddi import CARNDDI, HALVES, CARNDDIPredictor, best_half, compare, gain, weight
from sitsfuse.methods.ddi import DDI
from sitsfuse.methods.ddi.predictor import DDIPredictor
from sitsfuse.operators.updown import down, up_mask
from sitsfuse.superresolution.card import WEIGHTS, read_card
from tests.helpers import scenes
from tests.helpers.make_models import BANDS, ONE, message, network, run

QUICK = scenes.QUICK["ddi"]
DATE = np.datetime64(ONE[0])


def both(tree, folder, **options):
    return run(tree, folder, "carn+ddi", **QUICK, **options)


def bicubic_network(tmp_path, factor=5.0):
    """A network that adds nothing to bicubic interpolation."""
    folder = network(tmp_path, factor)
    weights = scenes.weights(read_card(folder).architecture)
    save_file(weights | {"exit.weight": 0 * weights["exit.weight"]}, folder / WEIGHTS)
    return folder


@pytest.fixture
def half(monkeypatch):
    """Makes both weigh the same at a gap of 30 days, whatever the rehearsal says."""
    monkeypatch.setattr(carn_ddi, "best_half", lambda *_: 30.0 / carn_ddi.CAUTION)
    monkeypatch.setattr(carn_ddi, "gain", lambda _: 1.0)
    return 30.0


def plain_share(tree, half):
    """(y, x) of the scene's one date, pixel by pixel: gap / (gap + half), 1 without any guide."""
    guide, target = group(tree, "guide"), group(tree, "target").sel(time=DATE)
    clear = target["valid"].values
    ratio = round(pair_of(tree).ratio)
    away = (guide["time"].values - DATE) / np.timedelta64(1, "D")
    out = np.zeros(guide["valid"].shape[1:])
    for y, x in np.ndindex(out.shape):
        if not clear[y // ratio, x // ratio]:
            continue
        seen = away[guide["valid"].values[:, y, x]]
        before, after = -seen[seen <= 0], seen[seen > 0]
        if not seen.size:
            out[y, x] = 1
        elif before.size and after.size:
            a, b = before.min(), after.min()
            gap = 4 * a * b / (a + b)
            out[y, x] = gap / (gap + half)
        else:
            gap = 4 * np.abs(seen).min()
            out[y, x] = gap / (gap + half)
    return out


def holed(**more):
    """A site with pixels that no guide sees."""
    tree = scenes.site(guides=(0, 10, 22, 40), seed=3, **more)
    gap = np.zeros((60, 60), bool)
    gap[15:31, 7:29] = True
    return scenes.change(tree, guide=lambda s: s.assign(valid=s["valid"] & ~gap)), gap


def test_it_is_both_by_the_gap_between_guides(tmp_path, half):
    (tree, gap), folder = holed(), network(tmp_path)
    found, own, image = both(tree, folder), fuse(tree, options=QUICK, dates=ONE), run(tree, folder)
    share = plain_share(tree, half)
    assert 0.1 < share[(share > 0) & (share < 1)].min() < share[(share > 0) & (share < 1)].max() < 0.9
    assert (share[gap] == 1).any()
    for name in ("reflectance", "uncertainty"):
        a, b = (np.nan_to_num(o[name].values[0]) for o in (own, image))
        valid = own["valid"].values[0] | image["valid"].values[0]
        wanted = np.where(valid, (1 - share) * a + share * b, np.nan)
        np.testing.assert_allclose(found[name].values[0], wanted, rtol=0, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(found["valid"].values, own["valid"].values | image["valid"].values)
    np.testing.assert_array_equal(found["filled"].values, own["filled"].values)


def test_without_a_guide_it_is_carn_and_without_a_target_it_is_ddi(tmp_path, half):
    (tree, gap), folder = holed(cloudy=0.5), network(tmp_path)
    found, own, image = both(tree, folder), fuse(tree, options=QUICK, dates=ONE), run(tree, folder)
    clear = image["valid"].values[0]
    guided = group(tree, "guide")["valid"].values.any(axis=0)
    for where, other in ((clear & ~guided, image), (guided & ~clear, own)):
        assert where.any()
        for name in ("reflectance", "uncertainty", "filled"):
            np.testing.assert_array_equal(found[name].values[0][..., where], other[name].values[0][..., where])
    assert not found["valid"].values[0][gap & ~clear].any()


def test_the_weights_of_the_guides_leave_room_for_carn(tmp_path, half):
    (tree, _), folder = holed(), network(tmp_path)
    given = {"method": "carn+ddi", "dates": ONE, "weights": True}
    found = fuse(tree, options=QUICK | {"model": str(folder)}, **given)["weight"]
    own = fuse(tree, options=QUICK, dates=ONE, weights=True)["weight"]
    assert found.dims == own.dims
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.values, own.values * (1 - plain_share(tree, half)), rtol=0, atol=1e-6)


# --- the share


def test_the_share_grows_with_the_gap():
    gaps = np.array([0, 10, 20, 60, np.inf], np.float32)
    np.testing.assert_allclose(weight(gaps, 20.0), [0, 1 / 3, 0.5, 0.75, 1], rtol=1e-6)
    np.testing.assert_array_equal(weight(gaps, math.inf), [0, 0, 0, 0, 1])
    assert weight(gaps, 20.0).dtype == np.float32


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_half_is_the_one_of_least_error(seed):
    rng = np.random.default_rng(seed)
    gaps = rng.uniform(0, 300, 200).astype(np.float32)
    mine, theirs = rng.normal(0, rng.uniform(0.1, 1), 200), rng.normal(0, gaps / rng.uniform(20, 600))
    errors = {}
    for half in HALVES:
        share = [0 if math.isinf(half) else g / (g + half) for g in gaps]
        errors[half] = sum(abs(w * m + (1 - w) * t) for w, m, t in zip(share, mine, theirs, strict=True))
    assert errors[best_half(gaps, mine, theirs)] == pytest.approx(min(errors.values()), rel=1e-5)


def test_a_prediction_without_error_gets_all_that_it_can():
    gaps, one = np.full(9, 50, np.float32), np.ones(9, np.float32)
    assert best_half(gaps, 0 * one, one) == min(HALVES)
    assert best_half(gaps, one, 0 * one) == math.inf
    none = np.empty(0, np.float32)
    assert best_half(none, none, none) == math.inf


def plain_ddi(tree, **chosen):
    """DDI without networks: difference interpolation."""
    times = group(tree, "guide")["time"].values
    return DDIPredictor(times, np.array([DATE], times.dtype), (0.3, 0.3), 2, (1.0, 1.0), chosen=chosen or None)


def test_the_better_ddi_is_than_interpolation_in_time_the_more_it_weighs():
    tree = scenes.site()
    assert gain(plain_ddi(tree)) == 1
    assert gain(plain_ddi(tree, temporal_error=0.3, final_error=0.1)) == pytest.approx(9)
    assert gain(plain_ddi(tree, temporal_error=0.1, final_error=0.3)) == 1


# --- the rehearsal


def test_each_guide_is_predicted_by_the_others_and_by_its_own_degraded_version(tmp_path, monkeypatch):
    monkeypatch.setattr(carn_ddi, "NEAREST", 1)
    tree, folder = scenes.site(guides=(0, 12, 30), cloudy=0.3, seed=6), network(tmp_path)
    guide, pair = group(tree, "guide"), pair_of(tree)
    carn = scenes.prepared(CARN(str(folder), device="cpu"), tree, DATE)
    gaps, mine, theirs = compare(guide, group(tree, "target"), carn, DATE, 0)
    # The guide next to day 14 is that of day 12. A site on which it is the target to predict, by the two others:
    values, valid = guide["reflectance"].values[1], guide["valid"].values[1]
    low, seen = down(values, valid, pair)
    times = guide["time"].values
    target = make_series(low[None], seen[None], times[1:2], BANDS, pair.lr, {"mtf": 0.3})
    left = make_site(guide.isel(time=[0, 2]), target)
    when = [scenes.day(12)]
    by_carn = fuse(left, method="carn", options={"model": str(folder)}, dates=when)
    by_guides = fuse(left, method="difference", options={"anchor": "guides"}, dates=when)
    ok = valid & by_carn["valid"].values[0] & by_guides["valid"].values[0]
    scale = values[:, ok].std(axis=1, keepdims=True)
    for found, image in ((mine, by_carn), (theirs, by_guides)):
        wanted = (image["reflectance"].values[0] - values)[:, ok] / scale
        np.testing.assert_allclose(found, wanted.ravel(), rtol=0, atol=1e-4)
    seen_by = guide["valid"].values[[0, 2]][:, ok]
    wanted = [4 * 12 * 18 / 30 if a and b else 48 if a else 72 for a, b in seen_by.T]
    np.testing.assert_allclose(gaps, np.tile(wanted, 2), rtol=1e-6)


def test_guides_that_say_nothing_give_way(tmp_path):
    folder = bicubic_network(tmp_path)
    tree = scenes.site(guides=(0, 60), targets=(14, 30), cloudy=0.0, seed=4)
    steady = scenes.change(tree, guide=lambda s: s.assign(reflectance=0 * s["reflectance"] + s["reflectance"][0]))
    other = np.stack([scenes.truth(9, seed=seed) for seed in (50, 51)])
    unrelated = scenes.change(tree, guide=lambda s: s.assign(reflectance=(s["reflectance"].dims, other)))
    halves = []
    for site in (steady, unrelated):
        carn = scenes.prepared(CARN(str(folder), device="cpu"), site, DATE)
        halves.append(best_half(*compare(group(site, "guide"), group(site, "target"), carn, DATE, 0)))
    assert halves[0] == math.inf
    assert halves[1] < 100
    truth = group(tree, "reference").sel(time=DATE)["reflectance"].values
    # The longer the gap between them, the more.
    far = scenes.START + np.array([-100, 130], "timedelta64[D]")
    away = scenes.change(unrelated, guide=lambda s: s.assign_coords(time=far))
    ratios = []
    for site in (unrelated, away):
        images = both(site, folder), fuse(site, options=QUICK, dates=ONE)
        ours, ddi = (float(np.square(i["reflectance"].values[0] - truth).mean()) for i in images)
        ratios.append(ours / ddi)
    assert ratios[1] < 0.97
    assert ratios[1] < ratios[0] < 1


def test_clouds_in_the_guides_do_not_enter_the_rehearsal(tmp_path):
    tree, folder = scenes.site(seed=5), network(tmp_path)
    carn = scenes.prepared(CARN(str(folder), device="cpu"), tree, DATE)
    first = compare(group(tree, "guide"), group(tree, "target"), carn, DATE, 0)
    assert first[0].size
    for wild in (np.nan, 1e6):
        again = compare(scenes.poison(group(tree, "guide"), wild), group(tree, "target"), carn, DATE, 0)
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)


# --- the method


@pytest.mark.parametrize(("ratio", "offset"), [(2.5, (0.0, 1.1)), (1.5, (1.3, -0.4))])
def test_a_tile_is_a_piece_of_the_whole(tmp_path, ratio, offset):
    folder = network(tmp_path, ratio)
    tree = scenes.site(
        n=int(130 * ratio), ratio=ratio, offset=offset, guides=(0, 22), targets=(14,), cloudy=0.3, mtf=0.1
    )
    method = CARNDDI(model=str(folder), device="cpu")
    carn = scenes.prepared(CARN(str(folder), device="cpu"), tree, DATE)
    predictor, pair = CARNDDIPredictor(plain_ddi(tree), carn, 30.0), pair_of(tree)

    def predict(window):
        tile = Tile(
            read(group(tree, "guide"), window.block, predictor.guides),
            read(group(tree, "target"), window.lr, predictor.targets),
            pair.crop(window.block, window.lr),
        )
        return predictor(tile).isel(y=window.inner[0], x=window.inner[1])

    everything = tuple(slice(0, n) for n in pair.hr.shape)
    whole = predict(tile_window(pair, everything, 0))
    start = int(0.47 * 130 * ratio)
    assert method.halo(ratio) == CARN(str(folder)).halo(ratio) > DDI().halo(ratio)
    core = slice(start, start + 21), slice(start - 10, start + 11)
    window = tile_window(pair, core, method.halo(ratio))
    assert all(part.start > 0 for part in window.block)
    found, wanted = predict(window), whole.isel(y=core[0], x=core[1])
    for name in wanted.data_vars:
        np.testing.assert_allclose(found[name].values, wanted[name].values, rtol=0, atol=1e-6, err_msg=name)
    assert GridPair(geobox(found), pair.lr).hr.shape == (21, 21)


def test_one_guide_is_enough(tmp_path):
    folder = bicubic_network(tmp_path)
    tree = scenes.site(guides=(10,), cloudy=0.3, seed=2)
    out = both(tree, folder)
    guided = group(tree, "guide")["valid"].values[0]
    assert guided[out["valid"].values[0]].any()
    target = group(tree, "target").sel(time=DATE)
    clear = up_mask(target["valid"].values, pair_of(tree))
    np.testing.assert_array_equal(out["valid"].values[0], guided | clear)
    with pytest.raises(InputError, match=r"holds 0 images, and carn\+ddi needs at least 1"):
        both(target_alone(group(tree, "target"), 5.0), folder)


def test_the_provenance_tells_what_was_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(carn_ddi, "best_half", lambda *_: 80.0)
    monkeypatch.setattr(carn_ddi, "gain", lambda _: 1.53)
    tree, folder = scenes.site(seed=3), network(tmp_path)
    choices = json.loads(both(tree, folder).attrs["provenance"])["dates"][ONE[0]]["choices"]
    assert choices["model"] == "tiny"
    assert choices["head"]
    assert choices["half_weight_days"] == pytest.approx(80 * 1.53 * carn_ddi.CAUTION)
    monkeypatch.setattr(carn_ddi, "best_half", lambda *_: math.inf)
    choices = json.loads(both(tree, folder).attrs["provenance"])["dates"][ONE[0]]["choices"]
    assert choices["half_weight_days"] is None


def test_carns_runtime_and_model_are_options(tmp_path):
    tree = scenes.site()
    with pytest.raises(InputError, match=r"model\.onnx: is missing") as error:
        both(tree, network(tmp_path), runtime="onnx")
    message(error)
    with pytest.raises(InputError, match=r"factor of 2\.5"):
        both(tree, network(tmp_path, 2.5))
