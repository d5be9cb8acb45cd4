"""Models on disk: what a card must say, and what it makes of an image."""

import datetime
import sys
import tomllib

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.operators.updown import up
from sitsfuse.simulator import simulate
from sitsfuse.superresolution import card as cards
from sitsfuse.superresolution.card import (
    CARD,
    Architecture,
    Card,
    ErrorModel,
    Normalisation,
    read_card,
    shipped_model,
    shipped_models,
    write_card,
)
from sitsfuse.superresolution.model import load_model
from tests.helpers import scenes

BANDS = ("blue", "green", "red", "nir")
FOREIGN = {
    "name": "foreign",
    "bands": ["red", "nir"],
    "factor": 2.0,
    "grid": 2,
    "halo": 3,
    "output": "image",
    "training_data": "somebody's images",
    "licence": "CC-BY-4.0",
    "normalisation": {"scale": [1e-4, 1e-4], "mean": [0.1, 0.2]},
}
"""What a user writes for a model made elsewhere."""
OWN = FOREIGN | {
    "output": "details",
    "halo": 25,
    "normalisation": {"scale": [0.1, 0.2], "context": 4},
    "architecture": {"bands": 2, "grid": 2, "features": 8, "groups": 2, "tail": 4},
}


def written(folder, content):
    folder.mkdir(exist_ok=True)
    (folder / CARD).write_text(tomli_w.dumps(content))
    return folder


def message(error):
    """What the user reads: one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


# --- reading and writing


def test_what_is_written_is_read_again(tmp_path):
    card = Card(
        **OWN,
        created=datetime.date(2024, 2, 29),
        errors=ErrorModel(slope=(0.5, 0.0), floor=(0.0, 0.01)),
        metrics={"held_out": "two places", "psnr": np.float32(31.5), "rmse": np.array([0.01, 0.02])},
        training={"steps": 10, "mtf": (0.2, 0.5)},
    )
    write_card(card, tmp_path / "new" / "model")
    found = read_card(tmp_path / "new" / "model")
    same = {"metrics", "training"}
    assert found.model_dump(exclude=same) == card.model_dump(exclude=same)
    assert found.metrics == {"held_out": "two places", "psnr": 31.5, "rmse": [0.01, 0.02]}
    assert found.training == {"steps": 10, "mtf": [0.2, 0.5]}
    plain = tomllib.loads((tmp_path / "new" / "model" / CARD).read_text())
    assert plain["created"] == datetime.date(2024, 2, 29)
    assert plain["normalisation"] == {"scale": [0.1, 0.2], "mean": [], "context": 4}
    assert [p.name for p in (tmp_path / "new" / "model").iterdir()] == [CARD]


def test_a_card_written_by_hand_is_read(tmp_path):
    card = read_card(written(tmp_path, FOREIGN))
    assert card.bands == ("red", "nir")
    assert card.architecture is None
    assert card.normalisation.context == 0
    assert read_card(str(tmp_path)) == card


def test_a_card_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file") as error:
        write_card(Card(**OWN), tmp_path / "file")
    message(error)
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(InputError, match=r'pip install "sitsfuse\[torch\]"'):
        write_card(Card(**OWN), tmp_path)


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_a_missing_field_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"card\.toml: {name}: ") as error:
        read_card(written(tmp_path, {k: v for k, v in FOREIGN.items() if k != name}))
    message(error)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scael": 1}, "scael: is unknown"),
        ({"normalisation": {"scale": [1.0, 1.0], "mean": [0.0, 0.0], "std": [1.0]}}, r"normalisation\.std: is unknown"),
        ({"factor": "five"}, "factor"),
        ({"factor": 1.0}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"factor": 2.5}, "grid 2 is less than the factor 2.5"),
        ({"bands": "red"}, "bands"),
        ({"bands": []}, "bands must be named"),
        ({"bands": ["red", "red"]}, "each once"),
        ({"bands": ["red", "nir", "blue"]}, "2 values for 3 bands"),
        ({"halo": -1}, "halo"),
        ({"output": "sharp"}, "output"),
        ({"normalisation": {"scale": [1.0, 0.0], "mean": [0.0, 0.0]}}, "scale"),
        ({"normalisation": {"scale": [1.0, float("inf")], "mean": [0.0, 0.0]}}, "scale"),
        ({"normalisation": {"scale": [1.0], "mean": [0.0, 0.0]}}, "scale has 1 values for 2 bands"),
        ({"normalisation": {"scale": [1.0, 1.0], "mean": [0.0]}}, "mean has 1 values for 2 bands"),
        ({"normalisation": {"scale": [1.0, 1.0]}}, "either a mean"),
        ({"normalisation": {"scale": [1.0, 1.0], "mean": [0.0, 0.0], "context": 2}}, "either a mean"),
        ({"normalisation": {"scale": [1.0, 1.0], "context": 2}}, "local mean"),
        ({"normalisation": {"scale": [1.0, 1.0], "context": 4}, "output": "details"}, "halo 3 is less"),
        ({"errors": {"slope": [0.5], "floor": [0.0, 0.0]}}, "slope has 1 values"),
        ({"errors": {"slope": [0.5, -0.5], "floor": [0.0, 0.0]}}, "slope"),
        ({"architecture": {"bands": 3, "grid": 2}}, "must agree"),
        ({"architecture": {"bands": 2, "grid": 3}}, "must agree"),
        ({"architecture": {"bands": 2, "grid": 2, "features": 30}}, "multiples of groups"),
        ({"architecture": {"bands": 2, "grid": 2, "tail": 1, "groups": 8}}, "multiples of groups"),
        ({"architecture": {"bands": 2}}, r"architecture\.grid"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, match):
    with pytest.raises(InputError, match=match) as error:
        read_card(written(tmp_path, FOREIGN | changes))
    assert message(error).startswith(str(tmp_path / CARD))


@pytest.mark.parametrize(
    "content",
    [b"", b"name = ", b"\x80\x04\x95\xff", b"name = 1\nname = 2", b"a = " + b"[" * 5000, b"a = " + b"9" * 5000],
    ids=["empty", "broken", "no text", "twice", "deep", "long number"],
)
def test_a_damaged_card_is_one_line(tmp_path, content):
    (tmp_path / CARD).write_bytes(content)
    with pytest.raises(InputError, match=r"card\.toml: ") as error:
        read_card(tmp_path)
    assert len(message(error)) < 400


def test_a_folder_without_a_card_is_no_model(tmp_path):
    for folder in (tmp_path, tmp_path / "none", tmp_path / CARD):
        with pytest.raises(InputError, match="is not a model") as error:
            read_card(folder)
        message(error)


# --- bands and factor


def test_bands_are_found_in_any_order():
    card = Card(**OWN | {"bands": list(BANDS), "normalisation": {"scale": [1.0] * 4, "context": 1}} | {
        "architecture": {"bands": 4, "grid": 2, "features": 8}
    })  # fmt: skip
    assert card.place(["nir", "blue", "red", "green"], 2.0, "m") == (1, 3, 2, 0)
    assert card.place(list(BANDS), 2.01, "m") == (0, 1, 2, 3)


@pytest.mark.parametrize("bands", [["red"], ["red", "green"], ["red", "nir", "blue"], ["red", "nir08"]])
def test_a_model_for_other_bands_is_refused(bands):
    with pytest.raises(InputError, match=r"somewhere: is a model for the bands red, nir, and the images have") as error:
        Card(**OWN).place(bands, 2.0, "somewhere")
    assert ", ".join(bands) in message(error)


@pytest.mark.parametrize("ratio", [1.9, 2.05, 5.0])
def test_a_model_for_another_factor_is_refused(ratio):
    with pytest.raises(InputError, match=f"factor of 2, and that of the images is {ratio:g}"):
        Card(**OWN).place(["nir", "red"], ratio, "somewhere")


# --- normalisation


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.floats(0, 1))
@settings(max_examples=25)
def test_the_local_mean_is_that_of_the_valid_pixels_around(seed, context, cloudy):
    rng = np.random.default_rng(seed)
    valid = rng.random((6, 9)) >= cloudy
    values = rng.normal(0.3, 0.1, (2, 6, 9)).astype(np.float32)
    values[:, ~valid] = rng.choice([np.nan, np.inf, 1e6])
    scale = (0.1, 0.03)
    wanted = np.zeros((2, 6, 9))
    for y in range(6):
        for x in range(9):
            if valid[y, x]:
                part = slice(max(0, y - context), y + context + 1), slice(max(0, x - context), x + context + 1)
                for b in range(2):
                    wanted[b, y, x] = (values[b, y, x] - values[b][part][valid[part]].mean(dtype=np.float64)) / scale[b]
    found = Normalisation(scale=scale, context=context).apply(values, valid)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_a_fixed_mean_is_the_same_everywhere():
    norm = Normalisation(scale=(1e-4, 0.5), mean=(0.0, 0.2))
    values = np.full((2, 3, 4), 0.3, np.float32)
    valid = np.ones((3, 4), bool)
    valid[1, 2], values[:, 1, 2] = False, np.nan
    found = norm.apply(values, valid)
    np.testing.assert_allclose(found[:, valid], np.array([[3000.0], [0.2]]) * np.ones(11), rtol=1e-6)
    assert not found[:, 1, 2].any()


def test_an_image_gets_its_mean_back_and_details_do_not():
    output = np.ones((2, 3, 3), np.float32)
    image = Card(**FOREIGN | {"normalisation": {"scale": [0.5, 0.1], "mean": [0.1, 0.2]}})
    np.testing.assert_allclose(image.reflectance(output)[:, 0, 0], [0.6, 0.3], rtol=1e-6)
    details = image.model_copy(update={"output": "details"})
    np.testing.assert_allclose(details.reflectance(output)[:, 0, 0], [0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(Card(**OWN).reflectance(output)[:, 0, 0], [0.1, 0.2], rtol=1e-6)
    assert image.reflectance(output).dtype == np.float32


# --- the models that come with the package


def test_the_packages_models_are_found_by_bands_and_factor(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "SHIPPED", tmp_path)
    for name, bands, factor in (("a", BANDS, 5.0), ("b", BANDS[2:], 5.0), ("c", BANDS, 2.5)):
        scenes.write_network(tmp_path / name, bands, factor)
    (tmp_path / "README.md").write_text("no model")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "weights.safetensors.part").write_bytes(b"")
    assert shipped_model(["nir", "red", "green", "blue"], 5.02) == tmp_path / "a"
    assert shipped_model(["nir", "red"], 5.0) == tmp_path / "b"
    assert shipped_model(list(BANDS), 2.5) == tmp_path / "c"
    assert shipped_model(list(BANDS), 5.1) is None
    assert shipped_model(["red"], 5.0) is None
    assert {f.name for f in shipped_models(5.0)} == {"a", "b"}
    monkeypatch.setattr(cards, "SHIPPED", tmp_path / "none")
    assert shipped_model(list(BANDS), 5.0) is None


@pytest.mark.parametrize("factor", [5.0, 2.5])
def test_the_packages_own_model_is_whole_and_beats_bicubic(factor):
    folder = cards.SHIPPED / f"carn-simulated-x{factor:g}"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: python examples/shipped_model.py {cards.SHIPPED}")
    assert shipped_model(["red", "nir", "green", "blue"], factor) == folder
    card = read_card(folder)
    assert card.licence
    assert card.training_data
    assert card.errors is not None
    assert card.metrics["psnr_network"] > card.metrics["psnr_bicubic"]
    site = simulate(size=200, ratio=factor, guides=2, targets=2, seed=77, cloud_cover=0.0)
    target, pair = group(site, "target"), pair_of(site)
    order = card.place([str(b) for b in target["band"].values], pair.ratio, folder)
    values, valid = target["reflectance"].values[1], target["valid"].values[1]
    truth = group(site, "reference")["reflectance"].values[1]
    images = [
        load_model(folder, runtime, "cpu").predict(values, valid, pair, order)[0] for runtime in ("torch", "onnx")
    ]
    np.testing.assert_allclose(images[1], images[0], rtol=0, atol=1e-4)
    plain, ok = up(values, valid, pair)
    before, after = (np.sqrt(np.square((image - truth)[:, ok]).mean()) for image in (plain, images[0]))
    assert after < 0.95 * before


def test_an_architecture_has_groups_that_fit():
    assert Architecture(bands=4, grid=5).features == 64
    with pytest.raises(ValueError, match="multiples of groups"):
        Architecture(bands=4, grid=5, features=42)
