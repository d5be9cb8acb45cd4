"""Training of a network: options and schedule, the loss against plain NumPy, runs that are killed."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from sitsfuse.errors import InputError
from sitsfuse.superresolution.card import Architecture, Normalisation
from sitsfuse.superresolution.training import STATE, TrainingConfig
from sitsfuse.superresolution.training.checkpoint import CHECKPOINT
from sitsfuse.superresolution.training.loop import Loss, _precision, train_network
from sitsfuse.superresolution.training.pairs import Degradation, Image, Pairs
from tests.helpers.short_training import STEPS, TINY, Killed, killer, quick  # noqa: F401

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
    with pytest.raises(InputError, match=f"^{option}: .* is not usable; give") as error:
        TrainingConfig(**{option: value})
    assert "\n" not in str(error.value)


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


def test_precision_is_that_of_a_gpu_there_only():
    def now():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.deterministic

    before = now()
    assert before == ("highest", False)
    with _precision("cpu"):
        assert now() == before
    with _precision("cuda"):
        assert now() == ("high", True)
    assert now() == before


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
    with pytest.raises(InputError, match=r"training: diverged: after 1 steps the loss is not a number; give a smaller"):
        run(tmp_path, rate=1e30)
    assert not (tmp_path / CHECKPOINT).exists()
    run(tmp_path, steps=2)


def test_other_options_over_a_half_trained_folder(tmp_path):
    state = tmp_path / "model" / STATE
    with pytest.raises(Killed):
        run(state, report=killer("training", 3))
    before = (state / CHECKPOINT).read_bytes()
    message = r"model: holds the output of another configuration \(steps is \d+ there and 30 here\); .*overwrite=True"
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
    "progress is not a table": lambda path: save_file({}, path, {"progress": "[]"}),
    "other tensors": _other_network,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint(tmp_path, damage):
    with pytest.raises(Killed):
        run(tmp_path, report=killer("training", 3))
    damage(tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match=f"{CHECKPOINT}: is damaged .*give overwrite=True") as error:
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
