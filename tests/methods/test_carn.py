"""CARN: the network against a plain one, its reach, its grids and tiles, and the method around it."""

import dataclasses
import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from onnx import helper
from safetensors.numpy import save_file

from sitsfuse.core.loading import read
from sitsfuse.core.series import make_series
from sitsfuse.core.site import group, make_site, pair_of, target_alone
from sitsfuse.core.tiling import tile_window
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import Tile, make_method
from sitsfuse.methods.carn import CARN
from sitsfuse.methods.shared import rehearsal
from sitsfuse.operators.residual import residual_halo
from sitsfuse.operators.updown import down, up, up_mask
from sitsfuse.superresolution import card as cards
from sitsfuse.superresolution import network as networks
from sitsfuse.superresolution.card import ONNX, WEIGHTS, Architecture, Card, Normalisation, read_card, write_card
from sitsfuse.superresolution.correction import lr_reach
from sitsfuse.superresolution.model import load_model
from sitsfuse.superresolution.network import REACH, make_runner
from sitsfuse.superresolution.training.finish import export_onnx
from tests.helpers import scenes
from tests.helpers.make_models import BANDS, ONE, graph, image_pair, message, network, repeat, run

SHAPE = Architecture(bands=2, grid=3, features=8, groups=2, tail=4)


# --- the network


def convolution(image, weight, groups=1):
    """(C, h, w) with (O, C / groups, s, s), zeros outside."""
    outputs, inputs, side, _ = weight.shape
    reach = side // 2
    rows, cols = image.shape[1:]
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)))
    out = np.zeros((outputs, rows, cols))
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for c in range(inputs):
            for dy in range(side):
                for dx in range(side):
                    out[o] += weight[o, c, dy, dx] * padded[first + c, dy : dy + rows, dx : dx + cols]
    return out


def plain_carn(image, w, groups, grid):
    """CARN-M as the paper draws it, without biases, leaky ReLU of 0.2."""

    def active(a):
        return np.where(a > 0, a, 0.2 * a)

    def cascade(x, name):
        seen = [x]
        for i in range(3):
            y = active(convolution(x, w[f"{name}.first.weight"], groups))
            y = active(convolution(y, w[f"{name}.second.weight"], groups))
            seen.append(active(convolution(y, w[f"{name}.mix.weight"]) + x))
            x = active(convolution(np.concatenate(seen), w[f"{name}.merges.{i}.weight"]))
        return x

    x = convolution(image, w["entry.weight"])
    seen = [x]
    for i in range(3):
        seen.append(cascade(x, f"cascades.{i}"))
        x = active(convolution(np.concatenate(seen), w[f"merges.{i}.weight"]))
    x = convolution(x, w["expand.weight"], groups)
    channels, (rows, cols) = len(x) // grid**2, image.shape[1:]
    fine = np.zeros((channels, grid * rows, grid * cols))
    for c in range(channels):
        for dy in range(grid):
            for dx in range(grid):
                fine[c, dy::grid, dx::grid] = x[(c * grid + dy) * grid + dx]
    return convolution(active(fine), w["exit.weight"])


def test_the_network_is_the_plain_one():
    weights = scenes.weights(SHAPE)
    image = np.random.default_rng(1).normal(size=(2, 6, 9)).astype(np.float32)
    wanted = plain_carn(image, weights, SHAPE.groups, SHAPE.grid)
    assert wanted.std() > 0.05
    np.testing.assert_allclose(make_runner(SHAPE, weights, "cpu")(image), wanted, rtol=0, atol=1e-5)


def test_an_untrained_network_adds_nothing():
    image = torch.randn((1, 2, 6, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert not networks.CARN(SHAPE)(image).any()


def test_twice_the_image_has_twice_the_details():
    network = make_runner(SHAPE, scenes.weights(SHAPE), "cpu")
    image = np.random.default_rng(1).normal(size=(2, 12, 9)).astype(np.float32)
    np.testing.assert_allclose(network(7 * image), 7 * network(image), rtol=0, atol=1e-5)
    assert not network(0 * image).any()


def test_the_reach_is_exact():
    # With positive weights nothing cancels: what a single pixel reaches is more than 0, and the rest is 0.
    weights = {k: np.abs(v) for k, v in scenes.weights(SHAPE).items()}
    image = np.zeros((2, 2 * REACH + 7, 2 * REACH + 9), np.float32)
    y, x = REACH + 3, REACH + 4
    image[0, y, x] = 1
    seen = make_runner(SHAPE, weights, "cpu")(image).min(axis=0) > 0
    pixels = seen.reshape(image.shape[1], 3, image.shape[2], 3).any(axis=(1, 3))
    wanted = np.zeros(image.shape[1:], bool)
    wanted[y - REACH : y + REACH + 1, x - REACH : x + REACH + 1] = True
    np.testing.assert_array_equal(pixels, wanted)


def test_the_onnx_export_gives_the_same(tmp_path):
    folder = network(tmp_path, 2.5)
    weights = scenes.weights(SHAPE)
    export_onnx(SHAPE, {k: torch.from_numpy(v) for k, v in weights.items()}, folder / ONNX)
    in_torch, in_onnx = (load_model(folder, runtime, "cpu") for runtime in ("torch", "onnx"))
    assert in_torch.weights is not None
    assert in_onnx.onnx is not None
    for side in ((1, 1), (5, 3), (17, 40)):
        image = np.random.default_rng(2).normal(size=(2, *side)).astype(np.float32)
        np.testing.assert_allclose(in_onnx.run(image), in_torch.run(image), rtol=0, atol=1e-4)
    tree = scenes.site(ratio=2.5)
    images = [run(tree, folder, runtime=r)["reflectance"].values for r in ("torch", "onnx", "auto")]
    np.testing.assert_allclose(images[1], images[0], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(images[2], images[0])


# --- grids

GRIDS = [(5.0, (0.0, 0.0)), (5.0, (-2.3, 1.7)), (2.5, (0.0, 0.0)), (1.5, (1.3, -0.4)), (5 / 3, (0.0, 2.2))]


def with_runner(folder, runner):
    """The model with another network in its place."""
    model = dataclasses.replace(load_model(folder, device="cpu"))
    model.__dict__["run"] = runner
    return model


@pytest.mark.parametrize(("ratio", "offset"), GRIDS)
def test_without_details_it_is_bicubic_interpolation(tmp_path, ratio, offset):
    pair = image_pair(ratio, offset)
    rng = np.random.default_rng(0)
    valid = rng.random(pair.lr.shape) > 0.1
    values = np.where(valid, rng.random((2, *pair.lr.shape)), np.nan).astype(np.float32)
    folder = network(tmp_path, ratio)
    weights = scenes.weights(read_card(folder).architecture)
    save_file(weights | {"exit.weight": 0 * weights["exit.weight"]}, folder / WEIGHTS)
    image, ok = load_model(folder, device="cpu").predict(values, valid, pair, (0, 1))
    wanted, seen = up(values, valid, pair)
    np.testing.assert_array_equal(ok, seen)
    np.testing.assert_allclose(image, np.where(seen, wanted, 0), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("ratio", "offset"), GRIDS)
def test_details_lie_where_they_belong(tmp_path, ratio, offset):
    pair, folder = image_pair(ratio, offset), network(tmp_path, ratio)
    grid = read_card(folder).grid

    def slope(y, x):
        """A plane, over positions in LR pixels; cubic interpolation gives it back."""
        return 0.02 * y - 0.03 * x + 0.1

    def runner(image):
        y, x = ((np.arange(n * grid) + 0.5) / grid for n in image.shape[1:])
        return np.stack([slope(y[:, None], x), 2 * slope(y[:, None], x)]).astype(np.float32)

    values = np.full((2, *pair.lr.shape), 0.3, np.float32)
    image, ok = with_runner(folder, runner).predict(values, np.ones(pair.lr.shape, bool), pair, (1, 0))
    y, x = ((np.arange(60) + 0.5 - o) / ratio for o in offset)
    # The network's first band is the image's second one; details come in the card's scale.
    wanted = 0.3 + 0.1 * slope(y[:, None], x)
    rows, cols = (
        np.flatnonzero((p > 2 / grid) & (p < n - 2 / grid)) for p, n in zip((y, x), pair.lr.shape, strict=True)
    )
    inner = np.ix_(rows, cols)
    assert ok[inner].all()
    np.testing.assert_allclose(image[1][inner], wanted[inner], rtol=0, atol=1e-6)
    np.testing.assert_allclose(image[0][inner], 0.3 + 0.2 * slope(y[:, None], x)[inner], rtol=0, atol=1e-6)


def large_site(ratio, offset, lr=100, cloudy=0.0, mtf=0.3):
    """An LR image of 100 × 100 pixels, so that a tile's surroundings are but a part of it; one guide of nothing."""
    hr, low = scenes.boxes(int(lr * ratio), ratio, offset)
    rng = np.random.default_rng(7)
    values = (0.3 + 0.1 * rng.normal(size=(1, 2, *low.shape))).astype(np.float32)
    valid = rng.random((1, *low.shape)) >= cloudy
    values[:, :, ~valid[0]] = np.nan
    none = np.zeros((1, 2, *hr.shape), np.float32), np.ones((1, *hr.shape), bool)
    time = [np.datetime64(ONE[0])]
    return make_site(make_series(*none, time, BANDS, hr), make_series(values, valid, time, BANDS, low, {"mtf": mtf}))


def predicted(predictor, tree, window):
    """What a tile's predictor gives for its core."""
    grids = pair_of(tree).crop(window.block, window.lr)
    target = read(group(tree, "target"), window.lr, predictor.targets)
    guide = group(tree, "guide").isel(time=[], y=window.block[0], x=window.block[1])
    rows, cols = window.inner
    return predictor(Tile(guide, target, grids, core=window.inner)).isel(y=rows, x=cols)


def assert_tiles_are_the_whole(method, tree, places):
    pair = pair_of(tree)
    predictor = scenes.prepared(method, tree, np.datetime64(ONE[0]))
    everything = tuple(slice(0, n) for n in pair.hr.shape)
    whole = predicted(predictor, tree, tile_window(pair, everything, 0))
    halo = method.halo(pair.ratio)
    for y, x in places:
        core = tuple(slice(int(s * n), int(s * n) + 21) for s, n in zip((y, x), pair.hr.shape, strict=True))
        window = tile_window(pair, core, halo)
        # No corner of the image: something is left out on at least one side along each axis.
        assert all(b.stop - b.start < n - 1 for b, n in zip(window.block, pair.hr.shape, strict=True))
        found, wanted = predicted(predictor, tree, window), whole.isel(y=core[0], x=core[1])
        assert wanted["valid"].values.any()
        for name in wanted.data_vars:
            np.testing.assert_allclose(found[name].values, wanted[name].values, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("iterations", "mtf"), [(0, 0.3), (2, 0.1)])
@pytest.mark.parametrize(("ratio", "offset"), [(5.0, (-2.3, 1.7)), (2.5, (0.0, 1.1)), (1.5, (1.3, -0.4))])
def test_a_tile_is_a_piece_of_the_whole(tmp_path, ratio, offset, iterations, mtf):
    method = CARN(str(network(tmp_path, ratio)), iterations, device="cpu")
    tree = large_site(ratio, offset, cloudy=0.0 if iterations else 0.3, mtf=mtf)
    assert_tiles_are_the_whole(method, tree, [(0.47, 0.5), (0.0, 0.6)])


@pytest.mark.parametrize(("ratio", "offset"), [(2.0, (0.7, -0.6)), (1.5, (1.3, -0.4)), (5.0, (2.2, 1.1))])
@pytest.mark.parametrize("output", ["image", "details"])
def test_the_halo_of_a_foreign_model_is_enough(tmp_path, ratio, offset, output):
    # A wide, even convolution: what a tile lacks at the edge of its reach counts as much as its middle.
    halo, grid = 4, int(np.ceil(ratio))
    enlarge, scales = repeat(grid, "c")
    side = 2 * halo + 1
    kernel = np.zeros((2, 2, side, side), np.float32)
    kernel[[0, 1], [0, 1]] = 1 / side
    nodes = [helper.make_node("Conv", ["x", "k"], ["c"], pads=[halo] * 4), enlarge]
    norm = Normalisation(scale=(1.0, 1.0), mean=(0.0, 0.0))
    more = {"factor": ratio, "grid": grid, "halo": halo, "output": output, "normalisation": norm}
    folder = graph(tmp_path / "m", nodes, {"k": kernel} | scales, **more)
    for iterations, cloudy in ((0, 0.6), (2, 0.0)):
        tree = large_site(ratio, offset, lr=80, cloudy=cloudy, mtf=0.1)
        assert_tiles_are_the_whole(CARN(str(folder), iterations), tree, [(0.45, 0.5), (0.4, 0.42)])


def test_every_correction_reaches_further(tmp_path):
    folder = str(network(tmp_path))
    first, last = (CARN(folder, iterations).halo(5.0) for iterations in (0, 3))
    assert last == first + 3 * residual_halo(5.0)


def test_the_uncertainty_needs_its_own_surroundings():
    card = Card(
        name="", bands=("red",), factor=2, grid=2, halo=0, output="image", training_data="", licence="",
        normalisation=Normalisation(scale=(1.0,), mean=(0.0,)),
    )  # fmt: skip
    assert lr_reach(card) == 9
    assert lr_reach(card.model_copy(update={"halo": 40})) == 44


# --- the method


@pytest.mark.parametrize("method", ["carn", "carn+ddi"])
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"runtime": "abacus"}, "^options.runtime: .*; choose among auto, torch, onnx"),
        ({"iterations": "-1"}, "^options.iterations: .* at least 0"),
    ],
)
def test_impossible_options_are_refused(method, options, match):
    with pytest.raises(InputError, match=match):
        make_method(method, options)


def test_without_a_model_for_the_site_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "SHIPPED", tmp_path)
    scenes.write_network(tmp_path / "a", ("red",), 5.0)
    with pytest.raises(InputError, match=r"no model for red, nir and a factor of 5; .*sitsfuse train carn") as error:
        fuse(scenes.site(), method="carn", dates=ONE)
    message(error)


def test_the_packages_model_is_taken_if_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "SHIPPED", tmp_path)
    scenes.write_network(tmp_path / "a", ("blue",), 5.0, context=6)
    folder = scenes.write_network(tmp_path / "b", BANDS, 5.0)
    tree = scenes.site()
    found, wanted = (fuse(tree, method="carn", options=o, dates=ONE) for o in ({}, {"model": str(folder)}))
    np.testing.assert_array_equal(found["reflectance"].values, wanted["reflectance"].values)
    # The halo must do for all that it may turn out to be.
    assert CARN().halo(5.0) == CARN(str(tmp_path / "a")).halo(5.0) > CARN(str(folder)).halo(5.0)


@pytest.mark.parametrize("bands", [("red", "green"), ("red", "nir", "green")])
def test_a_model_for_other_bands_is_refused(tmp_path, bands):
    folder = scenes.write_network(tmp_path / "m", bands, 5.0)
    with pytest.raises(InputError, match=f"is a model for the bands {', '.join(bands)}, and the images have red, nir"):
        run(scenes.site(), folder)


def test_a_model_for_another_factor_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"factor of 2\.5, and that of the images is 5"):
        run(scenes.site(), network(tmp_path, 2.5))


def test_bands_in_another_order_give_the_same(tmp_path):
    bands = ("green", "nir", "red")
    folder = scenes.write_network(tmp_path / "m", bands, 5.0)
    scale, errors = (0.1, 0.05, 0.2), cards.ErrorModel(slope=(0.5, 1.0, 2.0), floor=(0.0, 0.1, 0.2))
    card = read_card(folder)
    norm = card.normalisation.model_copy(update={"scale": scale})
    write_card(card.model_copy(update={"normalisation": norm, "errors": errors}), folder)
    tree = scenes.site(n_bands=3)
    turned = scenes.change(tree, **{n: lambda s: s.isel(band=[2, 0, 1]) for n in tree.children})
    first, second = run(tree, folder), run(turned, folder)
    assert [str(b) for b in first["band"].values] != [str(b) for b in second["band"].values]
    for name in ("reflectance", "uncertainty"):
        np.testing.assert_array_equal(second[name].values, first[name].values[:, [2, 0, 1]])


def test_the_residual_correction_brings_the_target_back(tmp_path):
    folder, tree = network(tmp_path), scenes.site(n=80, cloudy=0.0)
    target, pair = group(tree, "target").sel(time=np.datetime64(ONE[0])), pair_of(tree)
    errors = []
    for iterations in (0, 1, 2, 4):
        image = run(tree, folder, iterations=iterations).isel(time=0)
        low, ok = down(image["reflectance"].values, image["valid"].values, pair)
        errors.append(np.sqrt(np.square((low - target["reflectance"].values)[:, ok]).mean()))
    assert errors[0] > 0.01
    assert all(later < 0.75 * earlier for earlier, later in pairwise(errors)), errors


def test_without_correction_it_is_the_networks_image(tmp_path):
    folder, tree = network(tmp_path), scenes.site(seed=1)
    target, pair = group(tree, "target").sel(time=np.datetime64(ONE[0])), pair_of(tree)
    values, valid = target["reflectance"].values, target["valid"].values
    image, ok = load_model(folder, device="cpu").predict(values, valid, pair, (0, 1))
    out = run(tree, folder, iterations=0)
    np.testing.assert_array_equal(out["reflectance"].values[0], np.where(ok, image, np.nan))
    np.testing.assert_array_equal(ok, up_mask(valid, pair))


def test_the_uncertainty_is_what_the_card_says(tmp_path, monkeypatch):
    # Before it is calibrated.
    monkeypatch.setattr(rehearsal.Rehearsal, "calibrate", lambda *_: None)
    tree = scenes.site()
    rough = fuse(tree, method="spatial", dates=ONE)["uncertainty"].values
    np.testing.assert_allclose(run(tree, network(tmp_path))["uncertainty"].values, rough, rtol=1e-6)
    errors = cards.ErrorModel(slope=(0.5, 0.0), floor=(0.01, 0.02))
    found = run(tree, network(tmp_path, errors=errors))["uncertainty"].values
    np.testing.assert_allclose(found[:, 0], np.sqrt((0.5 * rough[:, 0]) ** 2 + 0.01**2), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], 0.02 + 0 * rough[:, 1], rtol=1e-5)


def test_no_guide_is_needed(tmp_path, monkeypatch):
    # Nor that there is one, to calibrate the uncertainty.
    monkeypatch.setattr(rehearsal.Rehearsal, "calibrate", lambda *_: None)
    folder, tree = network(tmp_path), scenes.site()
    alone = target_alone(group(tree, "target"), 5.0)
    found, wanted = run(alone, folder), run(tree, folder)
    for name in ("reflectance", "valid", "uncertainty"):
        np.testing.assert_array_equal(found[name].values, wanted[name].values)


def test_where_nothing_is_clear_the_network_is_not_run(tmp_path):
    def never(image):
        raise AssertionError

    pair = image_pair()
    model = with_runner(network(tmp_path), never)
    nothing = np.full((2, *pair.lr.shape), np.nan, np.float32), np.zeros(pair.lr.shape, bool)
    image, ok = model.predict(*nothing, pair, (0, 1))
    assert image.shape == (2, 60, 60)
    assert not image.any()
    assert not ok.any()


def test_a_gap_is_no_edge_to_the_network(tmp_path):
    pair = image_pair(2.0, n=60)
    valid = np.ones(pair.lr.shape, bool)
    valid[10:20, 8:19] = False
    values = np.where(valid, np.float32(0.3), np.nan) * np.ones((2, 1, 1), np.float32)
    seen = []

    def watch(image):
        seen.append(image)
        return np.zeros((2, 60, 60), np.float32)

    by_local_mean = with_runner(network(tmp_path, 2.0), watch)
    norm = Normalisation(scale=(0.1, 0.1), mean=(0.2, 0.3))
    by_fixed_mean = dataclasses.replace(
        by_local_mean, card=by_local_mean.card.model_copy(update={"normalisation": norm})
    )
    by_fixed_mean.__dict__["run"] = watch
    for model in (by_local_mean, by_fixed_mean):
        model.predict(values, valid, pair, (0, 1))
    np.testing.assert_allclose(seen[0], 0, atol=1e-6)
    near = np.ones_like(valid)
    near[13:17, 11:16] = False  # further from the valid pixels than anything is filled
    np.testing.assert_allclose(seen[1][:, near], np.array([[1.0], [0.0]]) * np.ones(near.sum()), rtol=0, atol=1e-5)


def test_the_provenance_tells_the_model(tmp_path):
    folder = network(tmp_path)
    out = run(scenes.site(), folder)
    found = json.loads(out.attrs["provenance"])["dates"][ONE[0]]["choices"]
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert found == {"model": "tiny", "training_data": "nothing: random weights", "sha256": digest}
