"""Training of a network: loss and schedule against their formulas, runs that are killed, the folder of a model."""

import dataclasses
import inspect
import json
import math
import shutil
import stat
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from safetensors.numpy import load_file, save_file

import sitsfuse
from sitsfuse import cli_train, training
from sitsfuse.cli import main
from sitsfuse.degrade import down, up
from sitsfuse.errors import InputError
from sitsfuse.grid import GridPair
from sitsfuse.methods.carn_model import load_model
from sitsfuse.methods.carn_network import CARN
from sitsfuse.modelcard import Architecture, Normalisation, read_card
from sitsfuse.report.training import draw_training
from sitsfuse.training import STATE, TrainingConfig
from sitsfuse.training.finish import error_model, export_onnx
from sitsfuse.training.loop import CHECKPOINT, Loss, _precision, train_network
from sitsfuse.training.pairs import Degradation, Image, Pairs
from sitsfuse.writers import write_site

TINY = {"features": 8, "groups": 2, "tail": 4, "batch": 2, "patch": 8, "device": "cpu"}
STEPS = 14
FILES = {"card.toml", "weights.safetensors", "model.onnx", "training.csv", "training.png"}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Tests share the cores, where threads that wait for each other are slow; and they need few patches to judge by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sitsfuse.threads.default_workers", lambda: 1)
        patch.setattr("sitsfuse.training.loop.HELD", 1)
        yield


def scene(**options):
    clear = {"cloud_cover": 0.0, "missed_clouds": 0.0, "guide_noise": 0.0005}
    return sitsfuse.simulate(**{"size": 130, "ratio": 2.5, "pixel": 4.0, "guides": 5, "targets": 1} | clear | options)


@pytest.fixture(scope="module")
def site():
    return scene(seed=1)


@pytest.fixture(scope="module")
def model(site, tmp_path_factory):
    """A model that has learnt something."""
    learn = {"features": 16, "groups": 1, "tail": 8, "batch": 4, "patch": 12, "rate": 5e-3, "noise": 0.0, "shift": 0.0}
    return sitsfuse.train(site, tmp_path_factory.mktemp("model") / "mine", steps=112, device="cpu", **learn)


@pytest.fixture(scope="module")
def tiny(site, tmp_path_factory):
    """A model after few steps, never interrupted."""
    return sitsfuse.train(site, tmp_path_factory.mktemp("tiny") / "tiny", steps=STEPS, **TINY)


def weights(folder):
    return {k: v.tobytes() for k, v in load_file(folder / "weights.safetensors").items()}


class Killed(BaseException):
    """Stands for a signal: nothing may catch it."""


def killer(stage, step):
    def report(name, done, total):
        if (name, done) == (stage, step):
            raise Killed

    return report


# --- options -------------------------------------------------------------------------------------------------------


def test_the_learning_rate_falls_along_three_cosines():
    config = TrainingConfig(steps=700, rate=0.01)
    expected = []
    for length in (100, 200, 400):
        expected += [0.01 * (1 + math.cos(math.pi * k / length)) / 2 for k in range(length)]
    np.testing.assert_allclose([config.rate_at(k) for k in range(700)], expected, rtol=1e-12)
    assert config.restarts == [0, 100, 300, 700]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 13, 29])
def test_every_step_has_a_rate(steps):
    config = TrainingConfig(steps=steps)
    assert all(0 < config.rate_at(k) <= config.rate for k in range(steps))
    assert config.restarts[-1] == steps


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, 0) for name in ("steps", "batch", "groups", "tail", "context")),
        *((name, 2.5) for name in ("steps", "batch", "patch", "features", "seed")),
        ("steps", "many"),
        ("patch", 7),
        ("features", 2),
        ("features", 66),
        ("tail", 3),
        ("seed", -1),
        ("seed", 2**64),
        *(("mtf", value) for value in ((0.3,), (0.5, 0.2), (0.0, 0.5), (0.2, 1.0), (0.2, 0.3, 0.4), (math.nan, 0.5))),
        *((name, value) for name in ("rate", "pixels") for value in (0, math.inf, math.nan)),
        *((name, value) for name in ("noise", "shift", "consistency") for value in (-0.1, math.inf, math.nan)),
    ],
)
def test_options_that_make_no_sense(option, value):
    with pytest.raises(InputError, match=f"^option {option!r}: .* is not usable; give") as error:
        TrainingConfig(**{option: value})
    assert "\n" not in str(error.value)


def test_options_by_name(site, tmp_path):
    with pytest.raises(InputError, match="option 'speed': is unknown; choose among steps, batch"):
        sitsfuse.train(site, tmp_path / "model", speed=3)
    with pytest.raises(InputError, match="device 'abacus': cannot be used"):
        sitsfuse.train(site, tmp_path / "model", device="abacus")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("module", "extra"), training.NEEDED.items())
def test_a_missing_package_is_named_before_the_work(site, tmp_path, monkeypatch, module, extra):
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == module else "there")
    with pytest.raises(InputError, match=rf'^{module} .*is not installed; .*pip install "sitsfuse\[{extra}\]"'):
        sitsfuse.train(site, tmp_path / "model")


# --- the loss ------------------------------------------------------------------------------------------------------


def pairs_of(values, valid=None, factor=5.0, lr=None, scale=(0.1, 0.4), **how):
    """Patches of one image."""
    valid = np.ones(values.shape[1:], bool) if valid is None else valid
    how = {"mtf": (0.3, 0.3), "noise": 0.0, "shift": 0.0} | how
    norm = Normalisation(scale=scale, context=2)
    return Pairs([Image(values.astype(np.float32), valid, lr)], Degradation(factor, **how), 8, norm)


def noise_image(size=100, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (2, size, size))


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_loss_against_plain_numpy(weight):
    valid = np.kron(np.random.default_rng(1).random((10, 10)) > 0.05, np.ones((10, 10))).astype(bool)
    pairs = pairs_of(noise_image(), valid, noise=0.1)
    batch = pairs.draw(range(4))
    assert not batch.valid.all()
    fine = np.random.default_rng(2).normal(0, 1, batch.hr.shape).astype(np.float32)
    found = Loss(pairs, 5, TrainingConfig(consistency=weight, device="cpu"))(lambda seen: torch.tensor(fine), batch)
    scale = np.array([0.1, 0.4])
    absolute = squared = bicubic = pixels = 0.0
    misfit = []
    for n in range(4):
        for b in range(2):
            image = batch.bicubic[n, b].astype(float) + fine[n, b] * scale[b]
            for y, x in np.argwhere(batch.valid[n]):
                error = (image[y, x] - batch.hr[n, b, y, x]) / scale[b]
                absolute += abs(error)
                squared += error**2
                bicubic += ((batch.bicubic[n, b, y, x] - batch.hr[n, b, y, x]) / scale[b]) ** 2
                pixels += 1
            misfit.append(np.abs(batch.down[n] @ image @ batch.down[n].T - batch.lr[n, b]) / scale[b])
    assert float(found.total) == pytest.approx(absolute / pixels + weight * np.mean(misfit), rel=1e-4)
    assert float(found.squared) == pytest.approx(squared, rel=1e-4)
    assert float(found.bicubic) == pytest.approx(bicubic, rel=1e-4)


@pytest.mark.parametrize(("factor", "grid"), [(2.5, 3), (7.72, 8)])
def test_details_come_from_the_grid_of_the_network_to_that_of_the_image(factor, grid):
    """A network that gives a plane, sampled at the centres of its pixels: the loss finds it at the HR pixels."""
    size = round(8 * factor)
    plane = np.stack([np.arange(size)[:, None] + np.zeros(size), np.zeros((size, 1)) + np.arange(size)])
    inner = np.zeros((size, size), bool)
    inner[3:-3, 3:-3] = True
    pairs = pairs_of(plane, factor=factor)
    step = factor / grid
    centres = (np.arange(8 * grid) + 0.5) * step + (size - 8 * factor) / 2 - 0.5
    fine = np.stack(np.broadcast_arrays(centres[:, None], centres[None]))
    batch = pairs.draw([0])
    # As the patch was turned.
    (turned,) = (
        np.rot90(fine, quarter, (1, 2))[..., ::mirror]
        for quarter in range(4)
        for mirror in (1, -1)
        if np.array_equal(np.rot90(plane, quarter, (1, 2))[..., ::mirror], batch.hr[0])
    )
    scale = np.array([0.1, 0.4])[:, None, None]
    batch = dataclasses.replace(batch, bicubic=np.zeros_like(batch.bicubic), valid=inner[None])
    loss = Loss(pairs, grid, TrainingConfig(device="cpu"))
    found = loss(lambda seen: torch.tensor((turned / scale)[None], dtype=torch.float32), batch)
    assert inner.sum() > 20
    assert float(found.total) < 1e-3


def test_invalid_pixels_do_not_count_in_the_loss():
    pairs = pairs_of(noise_image())
    batch = pairs.draw(range(2))
    hole = batch.valid.copy()
    hole[:, 10:20, :15] = False
    fine = torch.zeros(batch.hr.shape)
    loss = Loss(pairs, 5, TrainingConfig(device="cpu"))
    totals = []
    for poison in (0.0, 1e6):
        hr = np.where(hole[:, None], batch.hr, np.float32(poison))
        totals.append(float(loss(lambda seen: fine, dataclasses.replace(batch, valid=hole, hr=hr)).total))
    assert totals[0] == totals[1]
    error = np.abs(batch.bicubic - batch.hr) / np.array([0.1, 0.4])[:, None, None]
    assert totals[0] == pytest.approx(error.transpose(1, 0, 2, 3)[:, hole].mean(), rel=1e-4)


def test_products_are_tf32_on_a_gpu_only():
    before = torch.get_float32_matmul_precision()
    assert before == "highest"
    with _precision("cpu"):
        assert torch.get_float32_matmul_precision() == before
    with _precision("cuda"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


# --- runs that are killed ------------------------------------------------------------------------------------------


def run(folder, steps=STEPS, report=lambda *_: None, image=None, **options):
    """A training without all that comes before and after."""
    how = TrainingConfig(steps=steps, **TINY | options)
    shape = Architecture(bands=2, grid=5, features=how.features, groups=how.groups, tail=how.tail)
    pairs = pairs_of(noise_image() if image is None else image, noise=0.1, shift=0.1, mtf=(0.2, 0.5))
    held = pairs_of(noise_image(seed=1))
    record = {"steps": steps, "mtf": list(how.mtf)} | options
    return train_network(shape, pairs, held, how, record, folder, report)


def same(a, b):
    return (
        {k: v.numpy().tobytes() for k, v in a.weights.items()} == {k: v.numpy().tobytes() for k, v in b.weights.items()}
        and a.history == b.history
        and a.stopped == b.stopped
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return run(tmp_path_factory.mktemp("unbroken"), steps=56)


@pytest.mark.parametrize("steps", [(0, 2, 3), (8, 9, 10, 11, 30, 55), (56,)])
def test_a_run_that_was_killed_goes_on_as_if_it_was_not(unbroken, tmp_path, steps):
    """At checks (every second step) and between them, once and again."""
    for step in steps:
        with pytest.raises(Killed):
            run(tmp_path, steps=56, report=killer("training", step))
    seen = []
    assert same(run(tmp_path, steps=56, report=lambda *a: seen.append(a)), unbroken)
    # What was done by the last check is not done again.
    assert seen[0] == ("training", steps[-1] // 2 * 2, 56)


def test_a_run_has_a_check_for_each_part_of_it(unbroken):
    history = pd.DataFrame(unbroken.history)
    assert list(history) == ["step", "rate", "loss", "validation_loss", "validation_gain_db"]
    assert history["step"].tolist() == list(range(2, 57, 2))
    config = TrainingConfig(steps=56)
    assert history["rate"].tolist() == [config.rate_at(k - 1) for k in history["step"]]
    assert unbroken.stopped == "after 56 steps"


def test_every_step_is_taken_at_its_rate(tmp_path, monkeypatch):
    taken = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: taken.append(self.param_groups[0]["lr"]) or step(self)
    )  # fmt: skip
    with pytest.raises(Killed):
        run(tmp_path, steps=56, report=killer("training", 12))
    run(tmp_path, steps=56, report=lambda *_: None)
    config = TrainingConfig(steps=56)
    assert taken == [config.rate_at(k) for k in range(56)]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_very_short_run(tmp_path, steps):
    assert [h["step"] for h in run(tmp_path, steps=steps).history] == list(range(1, steps + 1))


def test_the_best_weights_are_kept(tmp_path):
    """A learning rate that breaks the network for a while: the weights of the best check come out, not the last."""
    found = run(tmp_path, steps=14, rate=0.3)
    losses = [h["validation_loss"] for h in found.history]
    best = int(np.argmin(losses)) + 1
    assert best < 14
    with pytest.raises(Killed):
        run(tmp_path / "part", steps=14, rate=0.3, report=killer("training", best))
    checkpoint = load_file(tmp_path / "part" / CHECKPOINT)
    for name, value in found.weights.items():
        np.testing.assert_array_equal(value, checkpoint[f"network/{name}"])


def test_a_training_that_brings_nothing_stops_early(tmp_path):
    found = run(tmp_path, steps=70, rate=1e-12)
    # 70 steps are cycles of 10, 20 and 40: the second one ends at 30.
    assert found.stopped == "after 30 steps: the last cycle brought nothing on the validation patches"
    assert found.history[-1]["step"] == 30
    seen = []
    assert same(run(tmp_path, steps=70, rate=1e-12, report=lambda *a: seen.append(a)), found)
    assert seen == [("training", 70, 70)]


def test_one_that_still_learns_does_not(unbroken):
    losses = [h["validation_loss"] for h in unbroken.history]
    assert min(losses[4:12]) < min(losses[:4])  # cycles end at 8, 24 and 56
    assert unbroken.history[-1]["step"] == 56


def test_a_training_that_diverges(tmp_path):
    with pytest.raises(InputError, match=r"training: diverged: after 1 steps the loss is no number; give a smaller"):
        run(tmp_path, rate=1e30)
    assert not (tmp_path / CHECKPOINT).exists()
    run(tmp_path, steps=2)


def test_other_options_over_a_half_trained_folder(tmp_path):
    state = tmp_path / "model" / STATE
    with pytest.raises(Killed):
        run(state, report=killer("training", 3))
    before = (state / CHECKPOINT).read_bytes()
    message = "model: holds a training begun with other steps, rate; give --overwrite to start anew, or another -o"
    with pytest.raises(InputError, match=message):
        run(state, steps=30, rate=1e-4)
    assert (state / CHECKPOINT).read_bytes() == before


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def _no_progress(path):
    save_file({"network/entry.weight": np.zeros(3, np.float32)}, path)


def _other_network(path):
    state = load_file(path)
    state["network/entry.weight"] = np.zeros((1, 2), np.float32)
    run_record = {"steps": STEPS, "mtf": [0.2, 0.5]}
    save_file(state, path, {"progress": json.dumps({"record": run_record, "step": 9, "history": [], "stopped": ""})})


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "text": lambda path: path.write_text("{}" * 100),
    "no progress": _no_progress,
    "progress is no table": lambda path: save_file({}, path, {"progress": "[]"}),
    "other tensors": _other_network,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint(tmp_path, damage):
    with pytest.raises(Killed):
        run(tmp_path, report=killer("training", 3))
    damage(tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match=f"{CHECKPOINT}: is damaged .*give --overwrite") as error:
        run(tmp_path)
    assert "\n" not in str(error.value)


def test_random_numbers_depend_on_the_seed_alone(tmp_path):
    """And those of others are left alone."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(tmp_path / "a", steps=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(run(tmp_path / "b", steps=1), first)
    assert not same(run(tmp_path / "c", steps=1, seed=1), first)


# --- models --------------------------------------------------------------------------------------------------------


def test_a_tiny_training_beats_bicubic_interpolation(model):
    """On a date that it has not seen."""
    metrics = read_card(model).metrics
    assert metrics["held_out"] == "other dates of the same place: 2019-04-10"
    assert metrics["psnr_network"] > metrics["psnr_bicubic"] + 0.5
    assert metrics["psnr_corrected"] > metrics["psnr_network"]
    curve = pd.read_csv(model / "training.csv")
    assert curve["validation_gain_db"].iloc[-1] > 0.5
    assert curve["validation_loss"].iloc[-1] < curve["validation_loss"].iloc[0]


def test_the_card_against_a_prediction_of_its_own(model, site):
    """Scores and size of the errors, from the operators and plain NumPy."""
    card = read_card(model)
    image = site["guide"]["reflectance"].values[2]
    clear = np.ones(image.shape[1:], bool)
    box = GeoBox((130, 130), Affine(1, 0, 0, 0, -1, 0), None)
    grids = GridPair(box, GeoBox((52, 52), box.affine * Affine.scale(2.5), None))
    lr, seen = down(image, clear, grids, 0.3)
    assert seen.all()
    bicubic = up(lr, seen, grids)[0]
    network = load_model(model, "torch", "cpu").predict(lr, seen, grids, (0, 1, 2, 3))[0]
    first = lr - down(network, clear, grids, 0.3)[0]
    once = up(first, seen, grids)[0]
    second = first - down(once, clear, grids, 0.3)[0]
    corrected = network + once + up(second, seen, grids)[0]
    for name, one in (("bicubic", bicubic), ("network", network), ("corrected", corrected)):
        error = (one - image).astype(float)
        assert card.metrics[f"psnr_{name}"] == pytest.approx(-10 * np.log10((error**2).mean()), abs=2e-3)
        np.testing.assert_allclose(card.metrics[f"rmse_{name}"], np.sqrt((error**2).mean(axis=(1, 2))), atol=2e-6)
    assert card.metrics["pixels"] == 130 * 130
    # Local standard deviation over 3 × 3 LR pixels, edges repeated.
    padded = np.pad(lr.astype(float), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = np.stack([padded[:, i : i + 52, j : j + 52] for i in range(3) for j in range(3)])
    spread = np.maximum(up(around.std(axis=0).astype(np.float32), seen, grids)[0], 0).astype(float)
    for b in range(4):
        terms = np.stack([spread[b].ravel() ** 2, np.ones(spread[b].size)], axis=1)
        square = (corrected - image)[b].astype(float).ravel() ** 2
        slope, floor = np.linalg.lstsq(terms, square, rcond=None)[0]
        if min(slope, floor) > 0:
            assert card.errors.slope[b] == pytest.approx(math.sqrt(slope), rel=1e-2)
            assert card.errors.floor[b] == pytest.approx(math.sqrt(floor), rel=1e-2)


def test_the_card_tells_how_it_was_trained(model, site):
    card = read_card(model)
    assert (card.name, card.bands, card.factor, card.grid) == ("mine", ("blue", "green", "red", "nir"), 2.5, 3)
    assert card.licence == training.UNSTATED
    assert card.training_data.startswith("HR images of simulated-1 (4 images, 2019-03-01 to 2019-05-20)")
    for field in dataclasses.fields(TrainingConfig):
        assert field.name in card.training
    assert card.training["sitsfuse"] == training.version("sitsfuse")
    assert card.training["stopped"] == "after 112 steps"
    images = np.delete(site["guide"]["reflectance"].values, 2, axis=0)
    np.testing.assert_allclose(card.normalisation.scale, images.std(axis=(0, 2, 3)), rtol=1e-3)


def test_the_model_predicts_in_a_fusion(model, site):
    fused = sitsfuse.fuse(site, method="carn", options={"model": str(model), "device": "cpu"})
    assert bool(fused["valid"].any())
    assert np.isfinite(fused["uncertainty"].values[fused["valid"].values[:, None].repeat(4, 1)]).all()


def test_the_onnx_export_is_the_network(tmp_path):
    import onnxruntime

    shape = Architecture(bands=3, grid=3, features=8, groups=2, tail=4)
    network = CARN(shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    export_onnx(shape, network.state_dict(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for size in ((1, 3, 5, 17), (2, 3, 21, 8)):
        image = torch.randn(size, generator=generator)
        with torch.inference_mode():
            expected = network(image).numpy()
        got = session.run(None, {"image": image.numpy()})[0]
        assert got.shape == (size[0], 3, 3 * size[2], 3 * size[3])
        np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_an_export_that_differs_is_refused(tmp_path, monkeypatch):
    shape = Architecture(bands=1, grid=2, features=4, groups=1, tail=4)
    network = CARN(shape)
    original = torch.onnx.export

    def export(network, *arguments, **options):
        torch.nn.init.ones_(network.exit.weight)
        original(network, *arguments, **options)
        torch.nn.init.zeros_(network.exit.weight)

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(InputError, match=r"model\.onnx: differs from the network in torch"):
        export_onnx(shape, network.state_dict(), tmp_path / "model.onnx")


def test_the_size_of_errors_by_least_squares():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0, 0.1, (3, 40_000))
    slope, floor = np.array([0.6, 0.0, 0.5]), np.array([0.02, 0.03, 0.0])
    error = rng.normal(0, np.hypot(slope[:, None] * spread, floor[:, None]))
    found = error_model(spread.astype(np.float32), error.astype(np.float32))
    np.testing.assert_allclose(found.slope, slope, atol=0.05)
    np.testing.assert_allclose(found.floor, floor, atol=0.004)
    terms = np.stack([spread[0] ** 2, np.ones(spread.shape[1])], axis=1)
    plain = np.sqrt(np.linalg.lstsq(terms, error[0] ** 2, rcond=None)[0])
    np.testing.assert_allclose([found.slope[0], found.floor[0]], plain, rtol=1e-3)
    flat = error_model(np.zeros((1, 9), np.float32), np.full((1, 9), 0.1, np.float32))
    assert (flat.slope, flat.floor) == ((0.0,), (0.1,))


def test_one_band_one_image_and_a_band_that_is_constant(tmp_path):
    one = scene(seed=1, size=100, guides=2)
    guide = one["guide"].to_dataset().isel(time=[0]).assign_attrs(mtf=0.3)
    sitsfuse.train(guide.isel(band=[2]), tmp_path / "one", factor=2.5, steps=2, **TINY)
    card = read_card(tmp_path / "one")
    assert (card.bands, card.metrics["held_out"]) == (("red",), "columns in the east")
    values = guide["reflectance"].values.copy()
    values[:, 1] = 0.1
    sitsfuse.train(guide.assign(reflectance=guide["reflectance"].copy(data=values)), tmp_path / "flat", factor=5.0,
                   steps=2, **TINY)  # fmt: skip
    card = read_card(tmp_path / "flat")
    assert card.normalisation.scale[1] == 1.0
    assert card.metrics["rmse_corrected"][1] < 1e-3
    assert math.isfinite(card.metrics["psnr_network"])


def test_masks_that_leave_nothing_at_lr(tmp_path):
    speckled = scene(seed=1, size=100, guides=3)["guide"].to_dataset()
    valid = speckled["valid"].values.copy()
    valid[:, ::5, ::5] = False
    valid[:, :12, :12] = True
    # An LR pixel in the corner is clear, but hardly a patch has any.
    with pytest.raises(InputError, match="no LR pixel that is clear all over") as error:
        sitsfuse.train(speckled.assign(valid=speckled["valid"].copy(data=valid)), tmp_path / "m", factor=5.0, **TINY)
    assert "\n" not in str(error.value)


# --- the folder ----------------------------------------------------------------------------------------------------


def test_the_same_again_is_the_same_bit_by_bit(site, tiny, tmp_path):
    again = sitsfuse.train(site, tmp_path / "tiny", steps=STEPS, **TINY)
    assert weights(again) == weights(tiny)
    for name in ("training.csv", "card.toml"):
        assert (again / name).read_text() == (tiny / name).read_text()
    assert {p.name for p in again.iterdir()} == FILES


def test_all_files_can_be_read_by_the_same_people(tiny):
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tiny.iterdir()}
    assert set(modes.values()) == {modes["training.csv"]}


def test_killed_anywhere_a_training_goes_on(site, tiny, tmp_path, monkeypatch):
    """In the training, and again at every stage of finishing."""
    out = tmp_path / "tiny"
    for report in (killer("training", 9), killer("finishing", 0)):
        with pytest.raises(Killed):
            sitsfuse.train(site, out, steps=STEPS, report=report, **TINY)
        assert [p.name for p in out.iterdir()] == [STATE]
    for function in ("finish.export_onnx", "draw_training", "finish.judge", "write_card"):
        with monkeypatch.context() as patch:
            patch.setattr(f"sitsfuse.training.{function}", lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                sitsfuse.train(site, out, steps=STEPS, **TINY)
        assert [p.name for p in out.iterdir()] == [STATE]
    sitsfuse.train(site, out, steps=STEPS, **TINY)
    assert {p.name for p in out.iterdir()} == FILES
    assert weights(out) == weights(tiny)


@pytest.mark.parametrize("moved", [4, 5])
def test_killed_while_files_move_up(site, tiny, tmp_path, monkeypatch, moved):
    out = tmp_path / "tiny"
    shutil.copytree(tiny, out)
    (out / STATE).mkdir()
    for name in training.FILES[moved:]:
        (out / name).rename(out / STATE / name)
    if moved < len(FILES):
        # What is left of the training is its checkpoint: here it starts anew.
        sitsfuse.train(site, out, steps=STEPS, **TINY)
    else:
        monkeypatch.setattr("sitsfuse.training.loop.train_network", None)
        sitsfuse.train(site, out, steps=STEPS, **TINY)
    assert {p.name for p in out.iterdir()} == FILES
    assert weights(out) == weights(tiny)


def test_a_model_that_is_there_is_left_alone(site, tiny, tmp_path, monkeypatch):
    out = tmp_path / "tiny"
    shutil.copytree(tiny, out)
    (out / "README.md").write_text("mine")
    monkeypatch.setattr("sitsfuse.training.loop.train_network", None)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert sitsfuse.train(site, str(out), steps=STEPS, **TINY) == out
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    for what, options in (
        ("steps, seed", {"steps": 30, "seed": 2}),
        ("factor", {"factor": 5.0}),
        ("licence", {"licence": "CC0"}),
        ("name", {"name": "yours"}),
    ):
        message = f"tiny: holds a model trained with other {what}; give --overwrite or another -o"
        with pytest.raises(InputError, match=message):
            sitsfuse.train(site, out, **{"steps": STEPS} | TINY | options)
    with pytest.raises(InputError, match="trained with other images;"):
        sitsfuse.train(scene(seed=2), out, steps=STEPS, **TINY)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_overwriting_starts_anew_and_keeps_what_is_not_ours(site, tiny, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(tiny, out)
    (out / "README.md").write_text("mine")
    sitsfuse.train(site, out, overwrite=True, steps=2, name="new", licence="CC0", **TINY)
    card = read_card(out)
    assert (card.name, card.licence, card.training["steps"]) == ("new", "CC0", 2)
    assert {p.name for p in out.iterdir()} == FILES | {"README.md"}
    # Also a part of another training.
    with pytest.raises(Killed):
        sitsfuse.train(site, tmp_path / "part", steps=30, report=killer("training", 2), **TINY)
    sitsfuse.train(site, tmp_path / "part", steps=STEPS, overwrite=True, **TINY)
    assert weights(tmp_path / "part") == weights(tiny)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else(site, tmp_path, overwrite):
    for name in ("thesis.tex", "training.csv"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("years of work")
        with pytest.raises(InputError, match=rf"holds other files \({name}\); give a new or empty folder"):
            sitsfuse.train(site, folder, overwrite=overwrite, steps=1, **TINY)
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(name, "years of work")]
    with pytest.raises(InputError, match=r"thesis\.tex: is no folder; give a new"):
        sitsfuse.train(site, tmp_path / "thesis" / "thesis.tex", overwrite=overwrite, steps=1, **TINY)
    with pytest.raises(InputError, match="cannot be written"):
        sitsfuse.train(site, tmp_path / "thesis" / "thesis.tex" / "model", overwrite=overwrite, steps=1, **TINY)


def test_bad_input_costs_no_model(site, tiny, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(tiny, out)
    for options in ({"factor": 0.5}, {"factor": 40.0}):
        with pytest.raises(InputError):
            sitsfuse.train(site, out, overwrite=True, **TINY | options)
    assert weights(out) == weights(tiny)
    (out / "card.toml").write_text("name = ")
    with pytest.raises(InputError, match=r"card\.toml: cannot be read"):
        sitsfuse.train(site, out, steps=STEPS, **TINY)
    sitsfuse.train(site, out, steps=1, overwrite=True, **TINY)
    assert read_card(out).training["steps"] == 1


def test_the_curve_of_a_training(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    history = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2, 1], "validation_loss": [4.0, 3, 2]})
    history["validation_gain_db"] = [0.1, 0.2, 0.3]
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k))
    draw_training(history, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    left, right = drawn[0].axes
    for line, column in zip((*left.lines, right.lines[0]), list(history)[1:], strict=True):
        np.testing.assert_array_equal(line.get_xydata(), history[["step", column]])
    with pytest.raises(InputError, match="cannot be written"):
        draw_training(history, tmp_path / "nowhere" / "curve.png")


# --- the command line ----------------------------------------------------------------------------------------------


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs `sitsfuse train` in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sitsfuse", "train", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return Done(int(stop.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def stored(site, tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "site.zarr"
    write_site(site, path)
    return path


QUICK = ("--features", 8, "--steps", STEPS, "--device", "cpu")
SETTINGS = [part for text in ("groups=2", "tail=4", "batch=2", "patch=8") for part in ("--set", text)]


def test_the_command_trains_and_goes_on_and_has_nothing_to_do(cli, stored, tiny, tmp_path, monkeypatch):
    out = tmp_path / "tiny"
    command = ("carn", stored, "-o", out, *QUICK, *SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr("sitsfuse.training.finish.export_onnx", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        done = cli(*command)
    assert (done.code, done.out) == (1, "")
    assert "interrupted" in done.err
    assert "again" in done.err
    done = cli(*command)
    assert done.code == 0, done.err
    assert done.err == f"sitsfuse: resuming, {STEPS} of {STEPS} steps are done already\n"
    first, second, third, last = done.out.splitlines()
    assert first == f"tiny: blue, green, red, nir, factor 2.5; stopped after {STEPS} steps"
    assert second.startswith("trained on HR images of simulated-1 (4 images")
    metrics = read_card(out).metrics
    assert third == (
        f"PSNR on other dates of the same place: 2019-04-10: bicubic {metrics['psnr_bicubic']:.2f} dB, "
        f"network {metrics['psnr_network']:.2f}, with residual correction {metrics['psnr_corrected']:.2f}"
    )
    assert last == str(out)
    assert weights(out) == weights(tiny)
    again = cli(*command)
    assert (again.code, again.out) == (0, done.out)
    assert again.err == f"sitsfuse: {out} is there already, nothing to do\n"
    assert cli(*command, "--quiet") == Done(0, done.out, "")


USAGE = {
    "other options": (["SITE", "-o", "TINY", "--steps", "9"], ["tiny: ", "other steps", "--overwrite"]),
    "no source": (["-o", "OUT"], ["SEN2VENUS", "train carn --help"]),
    "no output": (["SITE"], ["--out", "train carn --help"]),
    "nowhere": (["NOWHERE", "-o", "OUT"], ["NOWHERE", "does not exist", "check the path"]),
    "a series": (["SITE/guide", "-o", "OUT"], ["guide: ", "no ratio", "--factor"]),
    "target": (["SITE", "-o", "OUT", "--target", "target_x5"], ["no target_x5/", "choose a target: target"]),
    "factor": (["SITE", "-o", "OUT", "--factor", "1"], ["factor", "above 1"]),
    "bands": (["SITE", "-o", "OUT", "--bands", "b4b5b6b8a"], ["bands", "SEN2VENµS"]),
    "unknown option": (["SITE", "-o", "OUT", "--set", "speed=3"], ["'speed'", "choose among steps"]),
    "text for a number": (["SITE", "-o", "OUT", "--set", "batch=many"], ["'batch'", "'many'"]),
    "no value": (["SITE", "-o", "OUT", "--set", "batch"], ["--set", "name=value"]),
    "wrong value": (["SITE", "-o", "OUT", "--set", "batch=0"], ["'batch'", "at least 1"]),
    "steps": (["SITE", "-o", "OUT", "--steps", "0"], ["'steps'", "at least 1"]),
    "mtf": (["SITE", "-o", "OUT", "--mtf", "sharp"], ["--mtf", "'sharp'"]),
    "one mtf": (["SITE", "-o", "OUT", "--mtf", "0.3"], ["'mtf'", "two bounds"]),
    "device": (["SITE", "-o", "OUT", "--device", "abacus"], ["'abacus'", "cpu"]),
    **{f"--set {key}": (["SITE", "-o", "OUT", "--set", f"{key}=1"], ["--set", f"give --{key}"]) for key in
       ("steps", "features", "seed", "device", "mtf")},
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_one_line(cli, stored, tiny, tmp_path, arguments, parts):
    places = {"SITE/guide": stored / "guide", "SITE": stored, "OUT": tmp_path / "out", "TINY": tiny}
    done = cli("carn", *(places.get(a, a) for a in arguments))
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("sitsfuse: ")
    assert "; " in line
    for part in parts:
        assert part in line
    assert not (tmp_path / "out").exists()


def test_help_names_every_option_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom sitsfuse.cli import main\nsys.argv = ['sitsfuse', 'train', 'carn', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'torch', 'zarr', 'matplotlib', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    for word in ("Usage: sitsfuse train carn", "SEN2VENUS", "--factor", "--overwrite", "weights.safetensors"):
        assert word in done.stdout
    for field in dataclasses.fields(TrainingConfig):
        assert field.name in done.stdout


def test_defaults_of_the_command_are_those_of_the_options():
    given = {name: p.default for name, p in inspect.signature(cli_train.carn).parameters.items()}
    for field in dataclasses.fields(TrainingConfig):
        if field.name == "mtf":
            assert tuple(float(v) for v in given["mtf"].split(",")) == field.default
        elif field.name in given:
            assert given[field.name] == field.default
    assert given["bands"] == training.BANDS
