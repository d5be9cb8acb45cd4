"""Models that were trained: their scores, their folder, and the command that makes them."""

import dataclasses
import functools
import inspect
import math
import shutil
import stat
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from safetensors.numpy import load_file

import sitsfuse
from sitsfuse.cli import train as command
from sitsfuse.core.grid import GridPair
from sitsfuse.errors import InputError
from sitsfuse.operators.updown import down, up
from sitsfuse.superresolution import training
from sitsfuse.superresolution.card import Architecture, read_card
from sitsfuse.superresolution.model import load_model
from sitsfuse.superresolution.network import CARN
from sitsfuse.superresolution.training import STATE, TrainingConfig
from sitsfuse.superresolution.training.curve import draw_training
from sitsfuse.superresolution.training.finish import error_model, export_onnx
from sitsfuse.superresolution.training.images import BANDS
from sitsfuse.writers import write_site
from tests.helpers.running import Done
from tests.helpers.short_training import STEPS, TINY, Killed, killer, quick  # noqa: F401

FILES = {"card.toml", "weights.safetensors", "model.onnx", "training.csv", "training.png"}


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


# --- what is asked for ---------------------------------------------------------------------------------------------


def test_options_by_name(site, tmp_path):
    with pytest.raises(InputError, match=r"^speed: is not an option of a training; choose among steps, batch"):
        sitsfuse.train(site, tmp_path / "model", speed=3)
    with pytest.raises(InputError, match="device: 'abacus' cannot be used"):
        sitsfuse.train(site, tmp_path / "model", device="abacus")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("module", "extra"), training.NEEDED.items())
def test_a_missing_package_is_named_before_the_work(site, tmp_path, monkeypatch, module, extra):
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == module else "there")
    with pytest.raises(InputError, match=rf'^{module} .*is not installed; .*pip install "sitsfuse\[{extra}\]"'):
        sitsfuse.train(site, tmp_path / "model")


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
    assert card.training["sitsfuse"] == sitsfuse.__version__
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
            patch.setattr(f"sitsfuse.superresolution.training.{function}", lambda *_: (_ for _ in ()).throw(Killed()))
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
        monkeypatch.setattr("sitsfuse.superresolution.training.loop.train_network", None)
        sitsfuse.train(site, out, steps=STEPS, **TINY)
    assert {p.name for p in out.iterdir()} == FILES
    assert weights(out) == weights(tiny)


def test_a_model_that_is_there_is_left_alone(site, tiny, tmp_path, monkeypatch):
    out = tmp_path / "tiny"
    shutil.copytree(tiny, out)
    (out / "README.md").write_text("mine")
    monkeypatch.setattr("sitsfuse.superresolution.training.loop.train_network", None)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert sitsfuse.train(site, str(out), steps=STEPS, **TINY) == out
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    for what, options in (
        ("steps is 14 there and 30 here", {"steps": 30, "seed": 2}),
        ("factor is 2.5 there and 5.0 here", {"factor": 5.0}),
        ("licence is .* there and .CC0. here", {"licence": "CC0"}),
        ("name is .tiny. there and .yours. here", {"name": "yours"}),
    ):
        message = rf"tiny: holds the output of another configuration \({what}\); .* or overwrite=True"
        with pytest.raises(InputError, match=message):
            sitsfuse.train(site, out, **{"steps": STEPS} | TINY | options)
    with pytest.raises(InputError, match=r"configuration \(images_sha256 is"):
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
        with pytest.raises(InputError, match=rf"holds {name} and is not an output of `sitsfuse train`; choose another"):
            sitsfuse.train(site, folder, overwrite=overwrite, steps=1, **TINY)
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(name, "years of work")]
    with pytest.raises(InputError, match=r"thesis\.tex: is a file and is not an output"):
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


@pytest.fixture
def train(cli):
    """Runs `sitsfuse train` in this process."""
    return functools.partial(cli, "train")


@pytest.fixture(scope="module")
def stored(site, tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "site.zarr"
    write_site(site, path)
    return path


QUICK = ("--features", 8, "--steps", STEPS, "--device", "cpu")
SETTINGS = [part for text in ("groups=2", "tail=4", "batch=2", "patch=8") for part in ("--set", text)]


def test_the_command_trains_and_goes_on_and_has_nothing_to_do(train, stored, tiny, tmp_path, monkeypatch):
    out = tmp_path / "tiny"
    command = ("carn", stored, "-o", out, *QUICK, *SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(
            "sitsfuse.superresolution.training.finish.export_onnx",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()),
        )
        done = train(*command)
    assert (done.code, done.out) == (130, "")
    assert "interrupted" in done.err
    assert "again" in done.err
    done = train(*command)
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
    again = train(*command)
    assert (again.code, again.out) == (0, done.out)
    assert again.err == f"sitsfuse: {out} is there already, nothing to do\n"
    assert train(*command, "--quiet") == Done(0, done.out, "")


USAGE = {
    "other options": (["SITE", "-o", "TINY", "--steps", "9"], ["tiny: ", "(steps is", "--overwrite"]),
    "no source": (["-o", "OUT"], ["SEN2VENUS", "train carn --help"]),
    "no output": (["SITE"], ["--out", "train carn --help"]),
    "nowhere": (["NOWHERE", "-o", "OUT"], ["NOWHERE", "does not exist", "check the path"]),
    "a series": (["SITE/guide", "-o", "OUT"], ["guide: ", "no ratio", "--factor"]),
    "target": (["SITE", "-o", "OUT", "--target", "target_x5"], ["no target_x5/", "choose a target: target"]),
    "factor": (["SITE", "-o", "OUT", "--factor", "1"], ["--factor: ", "above 1"]),
    "bands": (["SITE", "-o", "OUT", "--bands", "b4b5b6b8a"], ["--bands: ", "SEN2VENµS"]),
    "unknown option": (["SITE", "-o", "OUT", "--set", "speed=3"], ["--set speed: ", "choose among steps"]),
    "text for a number": (["SITE", "-o", "OUT", "--set", "batch=many"], ["--set batch: 'many'", "whole number"]),
    "no value": (["SITE", "-o", "OUT", "--set", "batch"], ["--set", "name=value"]),
    "wrong value": (["SITE", "-o", "OUT", "--set", "batch=0"], ["--set batch: '0'", "at least 1"]),
    "steps": (["SITE", "-o", "OUT", "--steps", "0"], ["--steps: 0", "at least 1"]),
    "mtf": (["SITE", "-o", "OUT", "--mtf", "sharp"], ["--mtf", "'sharp'"]),
    "one mtf": (["SITE", "-o", "OUT", "--mtf", "0.3"], ["--mtf: '0.3'", "2 values"]),
    "device": (["SITE", "-o", "OUT", "--device", "abacus"], ["'abacus'", "cpu"]),
    **{f"--set {key}": (["NOWHERE", "-o", "OUT", "--set", f"{key}=1"], ["--set", f"give --{key}"]) for key in
       ("steps", "features", "seed", "device", "mtf")},
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_one_line(train, stored, tiny, tmp_path, arguments, parts):
    places = {"SITE/guide": stored / "guide", "SITE": stored, "OUT": tmp_path / "out", "TINY": tiny}
    done = train("carn", *(places.get(a, a) for a in arguments))
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("sitsfuse: ")
    assert "; " in line
    for part in parts:
        assert part in line
    assert not (tmp_path / "out").exists()


def test_help_names_every_option_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom sitsfuse.cli.main import main\nsys.argv = ['sitsfuse', 'train', 'carn', '--help']\n"
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
    given = {name: p.default for name, p in inspect.signature(command.carn).parameters.items()}
    for field in dataclasses.fields(TrainingConfig):
        if field.name == "mtf":
            assert tuple(float(v) for v in given["mtf"].split(",")) == field.default
        elif field.name in given:
            assert given[field.name] == field.default
    assert given["bands"] == BANDS
