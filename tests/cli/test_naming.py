"""Errors name parameters in Python and options on the command line."""

import pickle
import re
from typing import Any, cast

import numpy as np
import pytest
import typer

import sitsfuse
import sitsfuse.cli.main
from sitsfuse import InputError
from sitsfuse.cli.app import app
from sitsfuse.cli.naming import OPTIONS
from sitsfuse.preparation import changed, make_config
from sitsfuse.writers import write_site


@pytest.fixture(scope="module")
def site():
    return sitsfuse.simulate(size=40, guides=3, targets=2)


@pytest.fixture(scope="module")
def stored(site, tmp_path_factory):
    path = tmp_path_factory.mktemp("naming") / "site.zarr"
    write_site(site, path)
    return path


FUSIONS = {
    "no date": ({"dates": ["2019-13-01"]}, ["--dates", "2019-13-01"], "dates: '2019-13-01' is not a date"),
    "every": ({"every": "often"}, ["--every", "often"], "every: 'often' is not a number of days"),
    "both": (
        {"every": "2d", "dates": ["2019-03-06"]},
        ["--every", "2d", "--dates", "2019-03-06"],
        "every: cannot go with dates",
    ),
    "format": ({"format": "png"}, ["--format", "png"], "format: 'png' is unknown"),
    "weights": ({"weights": True}, ["--weights"], "weights: the method has no weights of guides; leave weights out"),
}


@pytest.mark.parametrize("case", FUSIONS)
def test_a_fusion_names_the_parameter_or_the_option(site, stored, tmp_path, cli, case):
    given, options, text = FUSIONS[case]
    with pytest.raises(InputError, match=f"^{re.escape(text)}") as caught:
        sitsfuse.fuse(site, method="difference", **given)
    assert "--" not in str(caught.value)
    assert "`" not in str(caught.value)
    _, _, err = done = cli("fuse", stored, "-o", tmp_path / "out", "--method", "difference", *options)
    assert done.code == 2
    named = re.sub(r"\b(dates|every|format|weights)\b(?=:| out|;|$)", r"--\1", text)
    assert err.startswith(f"sitsfuse: {named}"), err


def test_what_lies_in_the_place_names_overwrite(site, stored, tmp_path, cli):
    out = tmp_path / "out"
    sitsfuse.fuse(site, out, method="difference")
    with pytest.raises(InputError, match=r"or overwrite=True$"):
        sitsfuse.fuse(site, out, method="temporal")
    assert cli("fuse", stored, "-o", out, "--method", "temporal").err.rstrip().endswith("or --overwrite")


def test_an_evaluation_names_max_days(site, stored, cli):
    prediction = site["reference"].to_dataset()
    reference = prediction.assign_coords(time=prediction["time"] + np.timedelta64(2, "D"))
    with pytest.raises(InputError, match=r"or set max_days to \d"):
        sitsfuse.evaluate(prediction, reference)
    done = cli("evaluate", stored / "reference", stored / "guide", "--max-days", "0")
    assert re.search(r"or set --max-days to \d", done.err), done.err


def test_a_preparation_names_its_field_or_the_option(tmp_path, cli):
    config = make_config({"guide": {"path": "a"}, "target": {"path": "b"}})
    with pytest.raises(InputError, match=r"^selection\.revisit: Input should be greater than 0"):
        changed(config, {"selection.revisit": -1})
    done = cli("prepare", "a", "b", "-o", tmp_path / "site.zarr", "--revisit", "-1")
    assert done.err.startswith("sitsfuse: --revisit: Input should be greater than 0")


def test_the_option_of_the_target_alone_is_told_from_that_of_all(tmp_path, cli, stored):
    for role in ("guide", "target"):
        sitsfuse.fuse(stored, tmp_path / role, method="difference")
    with pytest.raises(InputError, match=r"^target_options\.date_pattern: '%d' gives no full date"):
        sitsfuse.open_pair(tmp_path / "guide", tmp_path / "target", target_options={"date_pattern": "%d"})
    pair = tmp_path / "guide", tmp_path / "target"
    done = cli("fuse", *pair, "-o", tmp_path / "out", "--target-date-pattern", "%d")
    assert done.err.startswith("sitsfuse: --target-date-pattern: '%d' gives no full date")
    done = cli("fuse", *pair, "-o", tmp_path / "out", "--date-pattern", "%d")
    assert done.err.startswith("sitsfuse: --date-pattern: '%d' gives no full date")


def test_a_group_of_commands_without_one_is_a_line(cli):
    done = cli("train")
    assert (done.code, done.out) == (2, "")
    assert done.err == "sitsfuse: Missing command; see `sitsfuse train --help`\n"


def test_a_path_is_never_taken_for_a_parameter(tmp_path):
    error = InputError(tmp_path / "`tile`", "is 3", "give `tile=16`")
    assert str(error.naming(lambda name, value: f"--{name} {value}")) == f"{tmp_path}/`tile`: is 3; give --tile 16"
    assert str(pickle.loads(pickle.dumps(error))) == f"{tmp_path}/`tile`: is 3; give tile=16"


def test_every_other_name_is_that_of_an_option():
    group = cast(Any, typer.main.get_command(app))
    known = {p.name.rstrip("_") for c in group.commands.values() for p in c.params}
    assert set(OPTIONS.values()) <= known


def test_messages_for_readers_of_files_name_options():
    from sitsfuse.cli.naming import as_options

    said = "give `scale=0.0001`, `target_options.scale=0.1` or `mask_pattern`; `sitsfuse prepare` and `other` stay"
    told = "give --scale 0.0001, --target-scale 0.1 or --mask-pattern; `sitsfuse prepare` and `other` stay"
    assert as_options(said) == told


def test_an_empty_pattern_undoes_that_of_all_series_for_the_target(site_folder, tmp_path, cli):
    mask = next((site_folder / "guide").glob("*_mask.tif"))
    mask.rename(mask.with_name(mask.name.replace("_mask", "_clouds")))
    pattern = "--mask-pattern", "*_clouds.tif"
    guide, target = site_folder / "guide", site_folder / "target"
    assert "holds no file whose name matches" in cli("info", guide, target, *pattern).err
    done = cli("info", guide, target, *pattern, "--target-mask-pattern", "")
    assert (done.code, done.err) == (0, "")


def test_info_on_a_site_names_guides_that_stand_out(tmp_path, cli):
    from sitsfuse.core.site import group, make_site
    from sitsfuse.writers import write_site
    from tests.helpers import scenes

    site = scenes.site(seed=1, cloudy=0.1, guides=(0, 6, 12, 18, 24, 30), targets=(1, 7, 13, 19, 25, 31))
    guide = group(site, "guide").load()
    guide["reflectance"][2] *= 2.5
    write_site(make_site(guide, group(site, "target")), tmp_path / "site.zarr")
    by_pair = cli("info", tmp_path / "site.zarr" / "guide", tmp_path / "site.zarr" / "target").out
    by_site = cli("info", tmp_path / "site.zarr").out
    told = [line for line in by_pair.splitlines() if "2020-05-13" in line and line.startswith("  ! ")]
    assert told
    assert set(told) <= set(by_site.splitlines())
