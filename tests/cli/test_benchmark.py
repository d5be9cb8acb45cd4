"""`sitsfuse benchmark` and `sitsfuse report` as a user meets them."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import sitsfuse
from sitsfuse.writers import write_site

# Compares with processes of their own, where nothing is shortened.
pytestmark = pytest.mark.full_rehearsal


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "tiny.zarr"
    write_site(sitsfuse.simulate(size=50, guides=4, targets=4, seed=3), path)
    return path


def test_benchmark_and_report(cli, site, tmp_path):
    out = tmp_path / "results"
    code, text, _ = cli("benchmark", site, "-o", out, "--methods", "temporal,spatial", "--jobs", 0, "--max-dates", 2)
    assert code == 0
    lines = text.splitlines()
    assert lines[0] == "×5: means over 2 pairs of 1 site"
    assert lines[1].split() == ["method", "RMSE", "CE90", "NDVI", "Gradient", "correlation", "(red)"]
    table = pd.read_parquet(out / "metrics.parquet")
    mean = table.query("method == 'temporal' and band == 'all' and metric == 'rmse' and stratum == 'all'")[
        "value"
    ].mean()
    shown = next(line.split() for line in lines if line.split()[:1] == ["temporal"])
    assert float(shown[1]) == pytest.approx(mean, abs=5.1e-5)
    assert lines[-1].endswith(f"sitsfuse report {out}")
    code, text, _ = cli("report", out, "-o", tmp_path / "page.html", "-q")
    assert code == 0
    assert text.strip() == str(tmp_path / "page.html")
    assert "temporal" in (tmp_path / "page.html").read_text()
    assert list((tmp_path / "page_figures").glob("*.svg"))


def test_a_failure_is_told(cli, site, tmp_path):
    some = ["--methods", "carn", "--set", "carn.model=nowhere", "--max-dates", 1]
    code, text, _ = cli("benchmark", site, "-o", tmp_path / "r", *some, "--jobs", 0)
    assert code == 0
    assert "no prediction succeeded" in text
    assert "carn: 1 failed, the first with: nowhere" in text


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--size", "64"], ["--size", "give no SITE"]),
        (["--set", "steps=3"], ["--set", "METHOD.OPTION=VALUE"]),
        (["--set", "temporal.steps=3"], ["--set steps", "temporal"]),
        (["--protocols", "guide-gap"], ["--protocols", "guide-gap:60"]),
        (["--methods", "magic"], ["magic", "choose one of"]),
        (["--targets", "target_x7"], ["target_x7", "choose a target"]),
    ],
)
def test_bad_options(cli, site, tmp_path, arguments, parts):
    usual = [] if "--methods" in arguments else ["--methods", "temporal"]
    code, out, err = cli("benchmark", site, "-o", tmp_path / "r", "--jobs", 0, *usual, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert all(part in line for part in parts), line
    assert not (tmp_path / "r").exists()


def test_report_of_nothing(cli, tmp_path):
    code, _, err = cli("report", tmp_path)
    assert code == 2
    assert "holds no benchmark" in err


def _any_of(group):
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_killed_and_resumed(cli, site, tmp_path):
    """SIGKILL in the middle of a run on a pool; then the same table as in one go, and no process left behind."""
    arguments = ["benchmark", site, "-o", tmp_path / "r", "--methods", "temporal,difference", "-q"]
    command = [sys.executable, "-m", "sitsfuse", *map(str, arguments), "--jobs", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    end = time.monotonic() + 100
    parts = tmp_path / "r" / "parts"
    while len(list(parts.rglob("*.parquet"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _any_of(process.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _any_of(process.pid)
    done = {p: p.stat().st_mtime_ns for p in parts.rglob("*.parquet")}
    assert 2 <= len(done) < 8
    assert cli(*arguments, "--jobs", 0)[0] == 0
    assert all(p.stat().st_mtime_ns == before for p, before in done.items())
    assert cli(*arguments[:3], tmp_path / "whole", *arguments[4:], "--jobs", 0)[0] == 0
    tables = [pd.read_parquet(tmp_path / name / "metrics.parquet") for name in ("r", "whole")]
    costs = ["seconds", "cpu_seconds", "seconds_evaluation", "peak_rss"]
    pd.testing.assert_frame_equal(*(t.drop(columns=costs) for t in tables), rtol=1e-6)
