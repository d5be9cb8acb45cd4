"""DDI: the network against slow plain NumPy, what training starts from, and what it is good for."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest

from sitsfuse.core.site import group
from sitsfuse.core.timeline import temporal_weights
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods.ddi import DDI, training
from sitsfuse.methods.ddi.network import SMALLEST_PRIOR, Ensemble, Samples
from sitsfuse.methods.ddi.predictor import blend
from sitsfuse.methods.ddi.training import Candidate, Task, Training, train
from sitsfuse.simulator import simulate
from tests.helpers import scenes

T, B, K = 4, 3, 2
HEADS = {"linear": ("linear", "linear"), "softmax": ("softmax", "softmax"), "mixed": ("linear", "softmax")}
QUICK = scenes.QUICK["ddi"]
DAY = [scenes.day(14)]


@pytest.fixture
def pixels():
    """Samples of 40 pixels; the first has no valid guide, the second all, the others some."""
    rng = np.random.default_rng(0)
    n = 40
    valid = rng.random((T, n)) < 0.6
    valid[:, 0], valid[:, 1] = False, True
    guides = np.where(valid[:, None], rng.uniform(0.05, 0.5, (T, B, n)), 0).astype(np.float32)
    prior = temporal_weights(valid, np.array([-12.0, -2.0, 5.0, 15.0]))
    return Samples(guides, valid, prior)


@pytest.fixture
def networks():
    """Random networks of two hidden layers; large outputs, so that the heads differ."""
    rng = np.random.default_rng(1)
    sizes = (T * B + T, 7, 5, T * B + B)
    layers = tuple(
        (rng.normal(0, 0.6, (K, n_out, n_in)).astype(np.float32), rng.normal(0, 0.3, (K, n_out)).astype(np.float32))
        for n_in, n_out in pairwise(sizes)
    )
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.05, 0.1, 0.2], np.float32)
    return {name: Ensemble(heads, mean, std, layers) for name, heads in HEADS.items()}


def task(samples, target, folds, windows=None, strength=0.0):
    """To learn the target; by default pixel by pixel."""
    n = target.shape[1]
    windows = np.arange(n)[:, None] if windows is None else windows
    return Task(samples, target.astype(np.float32), folds, windows, np.full(len(target), strength, np.float32))


def slow_forward(ensemble, samples):
    """Weights (K, T, B, N) and images (K, B, N), pixel by pixel in float64, from the definition."""
    n = samples.guides.shape[-1]
    weights, images = np.zeros((K, T, B, n)), np.zeros((K, B, n))
    for k in range(K):
        for i in range(n):
            ok = samples.valid[:, i]
            standard = (samples.guides[:, :, i] - ensemble.mean) / ensemble.std
            x = np.concatenate([np.where(ok[:, None], standard, 0).ravel(), ok - 0.5])
            for weight, offset in ensemble.layers[:-1]:
                x = np.maximum(weight[k].astype(float) @ x + offset[k], 0)
            x = ensemble.layers[-1][0][k].astype(float) @ x + ensemble.layers[-1][1][k]
            raw, bias = x[: T * B].reshape(T, B), x[T * B :]
            if ensemble.heads[k] == "linear":
                w = np.where(ok[:, None], samples.prior[:, i, None] + raw, 0)
            else:
                power = np.exp(raw) * np.maximum(samples.prior[:, i, None], SMALLEST_PRIOR) * ok[:, None]
                total = power.sum(axis=0)
                w = np.where(total > 0, power / np.where(total > 0, total, 1), 0)
            weights[k, :, :, i] = w
            images[k, :, i] = (w * samples.guides[:, :, i]).sum(axis=0) + bias * ensemble.std
    return weights, images


@pytest.mark.parametrize("head", HEADS)
def test_inference_is_the_plain_forward_pass(head, networks, pixels):
    loaded = networks[head].to("cpu")
    weights, images = slow_forward(networks[head], pixels)
    args = pixels.guides, pixels.valid, pixels.prior
    np.testing.assert_allclose(loaded.predict(*args), images, rtol=0, atol=2e-6)
    np.testing.assert_allclose(loaded.weights(*args), weights.mean(axis=0), rtol=0, atol=5e-6)
    assert weights.std() > 0.1


@pytest.mark.parametrize("head", HEADS)
def test_invalid_dates_carry_no_weight(head, networks, pixels):
    weights = networks[head].to("cpu").weights(pixels.guides, pixels.valid, pixels.prior)
    assert not weights[~np.repeat(pixels.valid[:, None], B, axis=1)].any()
    assert np.isfinite(weights).all()


def test_the_softmax_head_is_convex(networks, pixels):
    weights = networks["softmax"].to("cpu").weights(pixels.guides, pixels.valid, pixels.prior)
    assert (weights >= 0).all()
    seen = pixels.valid.any(axis=0)
    assert not seen[0]
    np.testing.assert_allclose(weights[..., seen].sum(axis=0), 1, rtol=1e-5)
    assert not weights[..., ~seen].any()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_the_blend_goes_from_temporal_interpolation_to_the_networks(head, alpha, networks, pixels):
    shape = (5, 8)
    values = pixels.guides.reshape(T, B, *shape).copy()
    valid = pixels.valid.reshape(T, *shape)
    values[~np.repeat(valid[:, None], B, axis=1)] = np.nan
    loaded = networks[head].to("cpu")
    image, spread, weights = blend(loaded, values, valid, pixels.prior.reshape(T, *shape), alpha, True)
    w, each = slow_forward(networks[head], pixels)
    base = (pixels.prior[:, None] * pixels.guides).sum(axis=0)
    wanted = base + alpha * (each.mean(axis=0) - base)
    np.testing.assert_allclose(image.reshape(B, -1), wanted, rtol=0, atol=3e-6)
    np.testing.assert_allclose(spread.reshape(B, -1), alpha * each.std(axis=0), rtol=0, atol=3e-6)
    mixed = pixels.prior[:, None] * (1 - alpha) + alpha * w.mean(axis=0)
    np.testing.assert_allclose(weights.reshape(T, B, -1), mixed, rtol=0, atol=5e-6)


@pytest.mark.parametrize("head", ["linear", "softmax"])
def test_training_starts_at_temporal_interpolation(head, pixels):
    target = np.full((B, 40), 0.9, np.float32)
    # The softmax head starts at the prior, floored by a hundredth: near it.
    how = Training((6, 6), 3, 0.0, 0, "cpu")
    (untrained,) = train(task(pixels, target, np.arange(40) % 2), [Candidate.same(head, 0.0, 2)], how)
    images = untrained.to("cpu").predict(pixels.guides, pixels.valid, pixels.prior)
    base = (pixels.prior[:, None] * pixels.guides).sum(axis=0)
    np.testing.assert_allclose(images, np.stack([base, base]), rtol=0, atol=2e-6 if head == "linear" else 0.02)


def test_an_ensemble_can_mix_heads(networks, pixels):
    args = pixels.guides, pixels.valid, pixels.prior
    linear, softmax = networks["linear"], networks["softmax"]
    layers = tuple(
        (np.stack([w1[0], w2[1]]), np.stack([o1[0], o2[1]]))
        for (w1, o1), (w2, o2) in zip(linear.layers, softmax.layers, strict=True)
    )
    mixed = Ensemble(("linear", "softmax"), linear.mean, linear.std, layers).to("cpu")
    images = mixed.predict(*args)
    np.testing.assert_array_equal(images[0], linear.to("cpu").predict(*args)[0])
    np.testing.assert_array_equal(images[1], softmax.to("cpu").predict(*args)[1])
    both = (linear.to("cpu").weights(*args), softmax.to("cpu").weights(*args))
    assert mixed.weights(*args).shape == both[0].shape


def test_training_learns_a_linear_combination():
    rng = np.random.default_rng(3)
    n = 2000
    guides = rng.uniform(0.05, 0.5, (3, 2, n)).astype(np.float32)
    valid = np.ones((3, n), bool)
    samples = Samples(guides, valid, temporal_weights(valid, np.array([-10.0, 10.0, 20.0])))
    # What temporal interpolation cannot know: the third guide counts, the second does not.
    target = (0.7 * guides[0] - 0.2 * guides[2] + 0.05).astype(np.float32)
    how = Training((32,), 300, 1e-2, 0, "cpu")
    (trained,) = train(task(samples, target, np.arange(n) % 2), [Candidate.same("linear", 0.0, 2)], how)
    images = trained.to("cpu").predict(guides, valid, samples.prior)
    base = (samples.prior[:, None] * guides).sum(axis=0)
    assert np.sqrt(((images - target) ** 2).mean()) < 0.05 * np.sqrt(((base - target) ** 2).mean())


def test_candidates_alternate():
    a, b = Candidate.same("linear", 0.1, 3), Candidate.same("softmax", 0.5, 3)
    mixed = a.alternate(b)
    assert mixed == Candidate(("linear", "softmax", "linear"), (0.1, 0.5, 0.1))
    assert mixed.only(1) == Candidate(("softmax",), (0.5,))
    assert a.alternate(a) == a


def test_a_mixed_candidate_trains_each_network_as_it_would_alone():
    rng = np.random.default_rng(8)
    n = 400
    guides = rng.uniform(0.1, 0.4, (2, 1, n)).astype(np.float32)
    valid = np.ones((2, n), bool)
    samples = Samples(guides, valid, temporal_weights(valid, np.array([-5.0, 5.0])))
    target, folds = guides[0] * 0.8, np.arange(n) % 2
    a, b = Candidate.same("linear", 0.0, 2), Candidate.same("softmax", 0.3, 2)
    alone = train(task(samples, target, folds), [a, b], how := Training((8,), 20, 1e-2, 0, "cpu"))
    (mixed,) = train(task(samples, target, folds), [a.alternate(b)], how)
    for k, source in enumerate(alone):
        for (weight, offset), (w, o) in zip(mixed.layers, source.layers, strict=True):
            np.testing.assert_allclose(weight[k], w[k], rtol=0, atol=1e-5)
            np.testing.assert_allclose(offset[k], o[k], rtol=0, atol=1e-5)


def two_guides(n, seed=4):
    """Samples of n pixels of one band, valid everywhere."""
    guides = np.random.default_rng(seed).uniform(0.1, 0.4, (2, 1, n)).astype(np.float32)
    valid = np.ones((2, n), bool)
    return Samples(guides, valid, temporal_weights(valid, np.array([-5.0, 5.0])))


def test_each_network_ignores_the_fold_it_leaves_out():
    n = 600
    samples, folds = two_guides(n), np.arange(n) % 2
    # Every window straddles both folds.
    windows = np.arange(n).reshape(-1, 2)
    target = samples.guides[0].copy()
    how = Training((8,), 1, 1e-2, 0, "cpu")  # one step: the state kept is the one after it, whatever the fold says
    made = []
    for wanted in (target, np.where(folds == 0, target + 0.3, target)):
        one = task(samples, wanted, folds, windows, strength=0.5)
        (ensemble,) = train(one, [Candidate.same("linear", 0.0, 2)], how)
        made.append(ensemble.layers[-1][0])
    np.testing.assert_array_equal(made[0][0], made[1][0])
    assert np.abs(made[0][1] - made[1][1]).max() > 0


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_what_the_residual_correction_brings_is_not_learnt(strength, monkeypatch):
    monkeypatch.setattr(training, "LEVEL", 0.0)
    n = 400
    samples, windows = two_guides(n), np.arange(n).reshape(-1, 4)
    folds = windows.copy()
    folds[:] = np.arange(n // 4)[:, None] % 2
    level = np.random.default_rng(5).normal(0, 0.1, n // 4).repeat(4)
    made = []
    for wanted in (samples.guides[0], samples.guides[0] + level):
        one = task(samples, wanted, folds.ravel(), windows, strength)
        made.append(train(one, [Candidate.same("linear", 0.0, 2)], Training((8,), 30, 1e-2, 0, "cpu"))[0])
    difference = np.abs(made[0].layers[-1][0] - made[1].layers[-1][0]).max()
    assert difference < 1e-4 if strength else difference > 1e-2


def test_without_correction_windows_do_not_matter():
    n = 1200
    samples = two_guides(n)
    target = (0.3 * samples.guides[0] + 0.9 * samples.guides[1]).astype(np.float32)
    how = Training((16,), 300, 1e-2, 0, "cpu")
    missing = np.where(np.random.default_rng(6).random((n // 4, 4)) < 0.3, -1, np.arange(n).reshape(-1, 4))
    for windows in (None, missing[(missing >= 0).any(axis=1)]):
        one = task(samples, target, np.arange(n) // 4 % 2, windows)
        (trained,) = train(one, [Candidate.same("linear", 0.0, 2)], how)
        images = trained.to("cpu").predict(samples.guides, samples.valid, samples.prior)
        assert np.sqrt(((images - target) ** 2).mean()) < 2e-3


def test_an_untrained_network_is_difference_interpolation():
    tree = scenes.site(seed=1)
    untrained = fuse(
        tree, options={**QUICK, "rate": 0.0, "heads": ("linear",), "strength": 1.0, "iterations": 1}, dates=DAY
    )
    plain = fuse(tree, method="difference", dates=DAY)
    for name in ("reflectance", "valid", "filled"):
        np.testing.assert_allclose(untrained[name].values, plain[name].values, rtol=0, atol=1e-6, err_msg=name)


def test_strength_scales_the_residual():
    tree = scenes.site(seed=1, noise=0.005)
    # Untrained, because networks learn for the correction that will follow.
    quick = {**QUICK, "rate": 0.0}
    images = [fuse(tree, options={**quick, "strength": s}, dates=DAY)["reflectance"].values for s in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(images[1], (images[0] + images[2]) / 2, rtol=0, atol=1e-6)
    assert np.nanmax(np.abs(images[2] - images[0])) > 1e-3
    without = fuse(tree, options={**quick, "strength": 1.0, "iterations": 0}, dates=DAY)["reflectance"].values
    np.testing.assert_array_equal(without, images[0])


def test_the_image_is_the_weighted_sum_of_the_guides():
    # Untrained networks have no bias; trained ones are compared with the plain forward pass above.
    tree = scenes.site(seed=2)
    out = fuse(tree, options={**QUICK, "strength": 0.0, "rate": 0.0}, dates=DAY, weights=True)
    weights = out["weight"].values[0]
    guide = group(tree, "guide")
    values = np.where(guide["valid"].values[:, None], guide["reflectance"].values, 0)
    total = (weights * values).sum(axis=0)
    keep = np.broadcast_to(out["valid"].values[0], total.shape)
    np.testing.assert_allclose(out["reflectance"].values[0][keep], total[keep], rtol=0, atol=1e-5)
    assert out["weight"].dims == ("time", "guide_time", "band", "y", "x")
    np.testing.assert_array_equal(out["guide_time"].values, guide["time"].values)


def test_a_seed_repeats_and_another_differs():
    tree = scenes.site(seed=3)
    first, again, other = (
        fuse(tree, options={**QUICK, "steps": 60, "seed": s}, dates=DAY)["reflectance"].values for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.nanmax(np.abs(first - other)) > 1e-5


def test_the_choices_are_told():
    tree = scenes.site(seed=3)
    out = fuse(tree, options=QUICK, dates=DAY)
    choices = json.loads(out.attrs["provenance"])["dates"][DAY[0]]["choices"]
    assert set(choices["head"].split(" + ")) <= {"linear", "softmax"}
    assert set(choices["held_out_error"]) == {f"{h} {d}" for h in ("linear", "softmax") for d in ("0.03", "0.3")}
    assert 0 <= choices["alpha"] <= 1
    assert len(choices["strength"]) == 2
    assert all(0 <= s <= 1 for s in choices["strength"])
    assert choices["training_pixels"] > 50
    forced = fuse(tree, options={**QUICK, "heads": ("softmax",), "strength": 0.25}, dates=DAY)
    choices = json.loads(forced.attrs["provenance"])["dates"][DAY[0]]["choices"]
    assert choices["head"] == "softmax"
    assert choices["strength"] == [0.25, 0.25]


def test_too_few_pixels_to_train_on_is_difference_interpolation():
    tree = scenes.site(n=30, ratio=5, seed=4)
    out, plain = fuse(tree, options={"iterations": 1}, dates=DAY), fuse(tree, method="difference", dates=DAY)
    np.testing.assert_allclose(out["reflectance"].values, plain["reflectance"].values, rtol=0, atol=1e-6)
    assert json.loads(out.attrs["provenance"])["dates"][DAY[0]]["choices"]["head"] is None


@pytest.mark.parametrize("options", [{"block": 40}, {"folds": 30}, {"steps": 1}, {"hidden": (4, 4, 4)}])
def test_odd_options_work(options):
    out = fuse(scenes.site(seed=5), options={**QUICK, **options}, dates=DAY)
    assert np.isfinite(out["reflectance"].values[0][:, out["valid"].values[0]]).all()


@pytest.mark.parametrize(
    "options",
    [{"folds": 1}, {"block": 0}, {"steps": 0}, {"iterations": -1}, {"heads": ()}, {"decays": ()}, {"hidden": ()}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=r"must be|needs"):
        DDI(**options)
    with pytest.raises(InputError, match="ddi"):
        fuse(scenes.site(), options=options)


@pytest.mark.parametrize(("options", "match"), [({"heads": ("cubic",)}, "cubic"), ({"device": "abacus"}, "abacus")])
def test_unknown_heads_and_devices_are_named(options, match):
    with pytest.raises(InputError, match=match):
        fuse(scenes.site(), options={**QUICK, **options}, dates=DAY)


def test_a_missing_torch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "sitsfuse.methods.ddi.network")
    with pytest.raises(InputError, match=r'pip install "sitsfuse\[torch\]"'):
        fuse(scenes.site(), options=QUICK, dates=DAY)
    # The other methods work without.
    assert fuse(scenes.site(), method="difference", dates=DAY)["valid"].values.any()


def rmse(out, tree):
    real = group(tree, "reference").sel(time=out["time"])["reflectance"].values
    return float(np.sqrt(np.nanmean((out["reflectance"].values - real) ** 2)))


def test_ddi_beats_the_trivial_methods_on_a_simulated_scene():
    tree = simulate(size=240, guides=10, targets=8, seed=1, missed_clouds=0)
    dates = [str(t)[:10] for t in group(tree, "target")["time"].values[2:5:2]]
    errors = {name: rmse(fuse(tree, method=name, dates=dates), tree) for name in ("temporal", "spatial", "difference")}
    ddi = rmse(fuse(tree, method="ddi", dates=dates, options={"device": "cpu", "steps": 150}), tree)
    assert all(ddi < 0.9 * e for e in errors.values()), (ddi, errors)


def test_the_uncertainty_is_of_the_errors_size_and_ranks_them():
    tree = simulate(size=240, guides=8, targets=6, seed=6)
    dates = [str(group(tree, "target")["time"].values[3])[:10]]
    out = fuse(tree, options={"device": "cpu", "steps": 100}, dates=dates)
    real = group(tree, "reference").sel(time=out["time"])["reflectance"].values
    keep = np.broadcast_to(out["valid"].values[:, None], real.shape)
    error = np.abs(out["reflectance"].values - real)[keep]
    told = out["uncertainty"].values[keep]
    assert 0.3 < np.sqrt((error**2).mean()) / np.sqrt((told**2).mean()) < 3
    low, high = np.quantile(told, [0.25, 0.75])
    assert error[told > high].mean() > 1.5 * error[told < low].mean()
