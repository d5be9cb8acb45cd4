"""Models of super-resolution from disk: made elsewhere, damaged, and what runs them."""

import os
import pickle
import sys
import threading

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.numpy import save_file
from scipy import ndimage

from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.superresolution.card import CARD, ONNX, WEIGHTS, Architecture, Normalisation, read_card, write_card
from sitsfuse.superresolution.model import load_model
from sitsfuse.superresolution.network import REACH
from sitsfuse.superresolution.training.finish import export_onnx
from tests.helpers import scenes
from tests.helpers.make_models import ONE, graph, image_pair, message, network, repeat, run

SHAPE = Architecture(bands=2, grid=3, features=8, groups=2, tail=4)

# --- models made elsewhere


def test_a_foreign_model_gives_its_image(tmp_path):
    # out = 3 × 3 convolution with a bias, then every pixel twice: known from SciPy.
    rng = np.random.default_rng(3)
    kernel, bias = rng.normal(size=(2, 2, 3, 3)).astype(np.float32), np.array([100.0, -0.5], np.float32)
    enlarge, scales = repeat(2, "c")
    nodes = [helper.make_node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 1, 1]), enlarge]
    folder = graph(tmp_path / "m", nodes, {"k": kernel, "b": bias} | scales, halo=1)
    pair = image_pair(2.0, n=40)
    values = rng.uniform(0.1, 0.5, (2, 20, 20)).astype(np.float32)
    # The site's bands are nir, red; the model's red, nir.
    seen = np.stack([values[1] / 1e-4, (values[0] - 0.2) / 0.5])
    out = [sum(ndimage.correlate(seen[c], kernel[o, c], mode="constant") for c in (0, 1)) + bias[o] for o in (0, 1)]
    wanted = np.stack([out[1] * 0.5 + 0.2, out[0] * 1e-4]).repeat(2, 1).repeat(2, 2)
    image, ok = load_model(folder).predict(values, np.ones((20, 20), bool), pair, (1, 0))
    assert ok.all()
    np.testing.assert_allclose(image, wanted, rtol=1e-4, atol=1e-5)


def test_a_foreign_model_fuses_with_and_without_correction(tmp_path):
    node, scales = repeat(2)
    folder = graph(tmp_path / "m", [node], scales)
    tree = scenes.site(n=40, ratio=2.0, cloudy=0.3)
    target = group(tree, "target").sel(time=np.datetime64(ONE[0]))
    values, valid = target["reflectance"].values, target["valid"].values
    plain = run(tree, folder, iterations=0)
    np.testing.assert_array_equal(plain["valid"].values[0], valid.repeat(2, 0).repeat(2, 1))
    wanted = np.where(valid, values, np.nan).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(plain["reflectance"].values[0], wanted, rtol=0, atol=2e-6)
    assert not np.array_equal(run(tree, folder)["reflectance"].values, plain["reflectance"].values, equal_nan=True)
    assert not plain["filled"].values.any()


THREE = {"bands": ("red", "nir", "blue"), "normalisation": Normalisation(scale=(1,) * 3, mean=(0,) * 3)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"grid": 3}, r"gives \(2, 22, 26\) for \(2, 11, 13\), where the card promises \(2, 33, 39\)"),
        (THREE, "cannot be run .* index: 1 Got: 3 Expected: 2"),
        ({"shape": ("n", 2, 64, 64)}, "cannot be run .* Expected: 64"),
        ({"shape": ("n", 2, "h", "w", 1)}, "cannot be run"),
        ({"kind": TensorProto.DOUBLE}, r"cannot be run .*Resize"),
        ({"gain": np.float32(np.nan)}, "not numbers"),
    ],
)
def test_a_graph_that_does_not_go_with_its_card_is_refused(tmp_path, change, match):
    node, scales = repeat(2, "c")
    change = dict(change)
    gain = np.asarray(change.pop("gain", 1.0), np.float64 if "kind" in change else np.float32)
    nodes = [helper.make_node("Add", ["x", "gain"], ["c"]), node]
    with pytest.raises(InputError, match=match) as error:
        load_model(graph(tmp_path / "m", nodes, scales | {"gain": gain}, **change))
    assert str(tmp_path / "m" / ONNX) in message(error)


def test_a_foreign_model_may_keep_a_fixed_mean_and_give_details(tmp_path):
    node, scales = repeat(2)
    folder = graph(tmp_path / "m", [node], scales, output="details")
    pair = image_pair(2.0, n=40)
    values = np.full((2, 20, 20), 0.3, np.float32)
    image, _ = load_model(folder).predict(values, np.ones((20, 20), bool), pair, (0, 1))
    # (0.3 - 0) / 1e-4 and (0.3 - 0.2) / 0.5 come back as 0.3 and 0.1: details, without the mean.
    np.testing.assert_allclose(image[:, 10, 10], [0.6, 0.4], rtol=1e-5)


# --- damaged models


class Bomb:
    """What runs when a pickle of it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


DAMAGES = {
    "truncated": lambda data, folder: data[: len(data) // 2],
    "head only": lambda data, folder: data[:8],
    "empty": lambda data, folder: b"",
    "random": lambda data, folder: np.random.default_rng(0).bytes(len(data)),
    "text": lambda data, folder: b"version https://git-lfs.github.com/spec/v1\n",
    "pickle": lambda data, folder: pickle.dumps(Bomb(folder / "exploded")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_damaged_file_is_one_line_and_nothing_runs(tmp_path, runtime, damage):
    folder = network(tmp_path)
    node, scales = repeat(5)
    if runtime == "onnx":
        graph(folder, [node], scales, factor=5.0, grid=5)
    path = folder / (WEIGHTS if runtime == "torch" else ONNX)
    load_model(folder, runtime, "cpu")
    path.write_bytes(DAMAGES[damage](path.read_bytes(), folder))
    with pytest.raises(InputError, match=r"is damaged|cannot be run") as error:
        run(scenes.site(), folder, runtime=runtime)
    assert message(error).startswith(str(path))
    assert not (folder / "exploded").exists()


def test_torchs_own_format_is_no_way_in(tmp_path):
    folder = network(tmp_path)
    torch.save({"bomb": Bomb(folder / "exploded")}, folder / WEIGHTS)
    with pytest.raises(InputError, match="is damaged"):
        load_model(folder, device="cpu")
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: scenes.weights(SHAPE), r"expand.weight is \(36, 4, 3, 3\), and the card's network has \(100, 4"),
        (lambda w: {k: v for k, v in w.items() if k != "exit.weight"}, "exit.weight is missing"),
        (lambda w: w | {"bias": np.zeros(3, np.float32)}, r"bias is \(3,\), and the card's network has none"),
        (lambda w: w | {"exit.weight": w["exit.weight"] * np.nan}, "not numbers"),
        (lambda w: w | {"entry.weight": w["entry.weight"] * np.inf}, "not numbers"),
    ],
)
def test_the_weights_of_another_network_are_refused(tmp_path, change, match):
    folder = network(tmp_path)
    save_file(change(scenes.weights(read_card(folder).architecture)), folder / WEIGHTS)
    with pytest.raises(InputError, match=match) as error:
        load_model(folder, device="cpu")
    assert message(error).startswith(str(folder / WEIGHTS))


def test_an_architecture_of_any_size_is_refused_before_it_takes_memory(tmp_path):
    folder = network(tmp_path)
    huge = {"bands": 2, "grid": 5, "features": 4_000_000}
    write_card(read_card(folder).model_copy(update={"architecture": Architecture(**huge)}), folder)
    with pytest.raises(InputError, match=r"entry\.weight"):
        load_model(folder, device="cpu")


def test_half_precision_weights_are_read(tmp_path):
    folder = network(tmp_path)
    weights = scenes.weights(read_card(folder).architecture)
    wanted = load_model(folder, device="cpu").run(np.ones((2, 4, 4), np.float32))
    save_file({k: v.astype(np.float16) for k, v in weights.items()}, folder / WEIGHTS)
    found = load_model(folder, device="cpu").run(np.ones((2, 4, 4), np.float32))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 1e-2


def test_a_halo_less_than_the_networks_reach_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"halo of {REACH} is less than the network's reach of {REACH + 2}"):
        load_model(network(tmp_path, halo=REACH), device="cpu")


@pytest.mark.parametrize(("runtime", "name"), [("torch", WEIGHTS), ("auto", WEIGHTS), ("onnx", ONNX)])
def test_a_missing_file_is_named(tmp_path, runtime, name):
    folder = network(tmp_path)
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=f"{name}: is missing") as error:
        run(scenes.site(), folder, runtime=runtime)
    message(error)


def test_no_folder_and_no_card_are_told(tmp_path):
    with pytest.raises(InputError, match="is not a model"):
        run(scenes.site(), tmp_path / "none")
    folder = network(tmp_path)
    (folder / CARD).unlink()
    with pytest.raises(InputError, match="is not a model"):
        run(scenes.site(), folder)


def test_a_model_that_changes_is_loaded_again(tmp_path):
    tree, folder = scenes.site(), network(tmp_path)
    first = run(tree, folder)["reflectance"].values
    kept = load_model(folder, device="cpu")
    assert load_model(folder, device="cpu") is kept
    network(tmp_path, seed=1)
    os.utime(folder / WEIGHTS, ns=(1, 1))
    assert load_model(folder, device="cpu").digest != kept.digest
    assert np.nanmax(np.abs(run(tree, folder)["reflectance"].values - first)) > 1e-3


# --- what runs it


def without(monkeypatch, *modules):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "sitsfuse.superresolution.network", raising=False)


def test_without_torch_onnxruntime_runs_the_model(tmp_path, monkeypatch):
    folder, tree = network(tmp_path), scenes.site()
    shape = read_card(folder).architecture
    export_onnx(shape, {k: torch.from_numpy(v) for k, v in scenes.weights(shape).items()}, folder / ONNX)
    wanted = run(tree, folder)["reflectance"].values
    for absent in ("torch", "safetensors"):
        with monkeypatch.context() as patch:
            without(patch, absent)
            found = fuse(tree, method="carn", options={"model": str(folder)}, dates=ONE)["reflectance"].values
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
            with pytest.raises(InputError, match=rf'{absent} .*pip install "sitsfuse\[torch\]"') as error:
                run(tree, folder, runtime="torch")
            message(error)
    with monkeypatch.context() as patch:
        without(patch, "torch", "onnxruntime")
        for runtime in ("auto", "onnx"):
            with pytest.raises(InputError, match=r'onnxruntime .*pip install "sitsfuse\[onnx\]"'):
                run(tree, folder, runtime=runtime)


def test_torch_cannot_run_a_foreign_model(tmp_path):
    node, scales = repeat(2)
    with pytest.raises(InputError, match="use runtime=onnx"):
        load_model(graph(tmp_path / "m", [node], scales), "torch")


@pytest.mark.parametrize("device", ["abacus", "cuda"])
def test_a_device_that_is_not_there_is_named(tmp_path, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    node, scales = repeat(2)
    for folder in (network(tmp_path), graph(tmp_path / "m", [node], scales)):
        with pytest.raises(InputError, match=f"device: '{device}' cannot be used") as error:
            load_model(folder, device=device)
        message(error)


def test_threads_share_a_model(tmp_path):
    model = pickle.loads(pickle.dumps(load_model(network(tmp_path), device="cpu")))
    images = np.random.default_rng(0).normal(size=(8, 2, 30, 20)).astype(np.float32)
    found = [None] * 8

    def work(i):
        found[i] = model.run(images[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image, out in zip(images, found, strict=True):
        np.testing.assert_allclose(out, model.run(image), rtol=0, atol=1e-6)
