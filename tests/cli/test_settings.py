"""Options from a file, and messages on the terminal and in a file."""

import logging
import tomllib

import pytest

from sitsfuse.simulator import simulate
from sitsfuse.writers import write_site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "site.zarr"
    write_site(simulate(size=40, ratio=5, guides=3, targets=2, seed=4), path)
    return path


def test_a_file_holds_the_options_and_the_command_line_counts_more(cli, site, tmp_path):
    out = tmp_path / "out"
    options = tmp_path / "site.toml"
    options.write_text(f"""
        tile = 32
        [fuse]
        paths = ["{site}"]
        out = "{out}"
        method = "starfm"
        keep_all_guides = true
        [fuse.set]
        window = 11
        [train.carn]
        steps = 3
    """)
    shown = tomllib.loads(cli("fuse", "--config", options, "--method", "estarfm", "--dump-config").out)
    assert shown["paths"] == [str(site)]
    assert shown["tile"] == 32
    assert shown["method"] == "estarfm"
    assert shown["set"] == ["window=11"]
    assert shown["keep-all-guides"] is True
    assert shown["int16"] is False
    assert not out.exists()
    trained = tomllib.loads(cli("train", "carn", site, "-o", "x", "--config", options, "--dump-config").out)
    assert trained["steps"] == 3
    assert "tile" not in trained


def test_what_is_dumped_runs_the_same(cli, site, tmp_path):
    arguments = [
        "fuse",
        site,
        "-o",
        tmp_path / 'o"ut',
        "--method",
        "difference",
        "--every",
        "20d",
        "--mtf",
        "0.3,0.3,.3,.3",
    ]
    options = tmp_path / "all.toml"
    options.write_text(cli(*arguments, "--dump-config").out)
    done = cli("fuse", "--config", options)
    assert done.code == 0, done.err
    assert done.out.count("LR interpolated") >= 1
    assert (tmp_path / 'o"ut').is_dir()
    assert cli("fuse", "--config", options, "--dump-config").out == options.read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("tiel = 4", "'tiel' is not an option of sitsfuse fuse; do you mean tile?"),
        ("[fuse]\nqqqq = 4", "'qqqq' is not an option of sitsfuse fuse; choose among paths, out, method"),
        ("fuse = 4", "fuse is not a table; put the options of fuse under [fuse]"),
        ("a = ", "is not valid TOML"),
        (None, "cannot be read; give a TOML file of options to --config"),
        ('tile = "wide"', "Invalid value for '--tile'"),
    ],
)
def test_a_file_that_is_wrong(cli, tmp_path, content, said):
    options = tmp_path / "site.toml"
    if content is not None:
        options.write_text(content)
    done = cli("fuse", tmp_path, "-o", tmp_path / "out", "--config", options)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_messages(cli, site, tmp_path):
    log = tmp_path / "log.txt"
    arguments = ["fuse", site, "-o", tmp_path / "out", "--method", "difference", "--log-file", log]
    done = cli(*arguments)
    assert done.err == ""
    assert "fuse" in log.read_text().splitlines()[0]
    assert "difference: 2 dates in 1 tiles" in log.read_text()
    assert '"guides"' in log.read_text().replace("'", '"')
    before = log.read_text()
    done = cli(*arguments, "-v")
    assert "difference: 2 dates" in done.err
    assert "'guides'" not in done.err
    assert log.read_text().startswith(before)
    done = cli(*arguments, "--overwrite", "-vv")
    assert "'guides'" in done.err
    done = cli("fuse", site, "-o", tmp_path / "out", "--method", "starfm", "--log-file", log)
    assert done.code == 2
    assert done.err.strip().removeprefix("sitsfuse: ") in log.read_text()
    done = cli("methods", "--log-file", tmp_path / "none" / "log.txt")
    assert done.code == 2
    assert "cannot be written (No such file or directory); give another --log-file" in done.err
    # Later runs in this process tell nothing.
    assert "fitted" not in cli("fuse", site, "-o", tmp_path / "out", "--method", "difference", "--overwrite").err
    assert logging.getLogger("sitsfuse").level == logging.WARNING
