"""What Python users may give: steps, clients, and predictions that are computed later."""

import datetime

import dask
import numpy as np
import pandas as pd
import pytest

from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.evaluation import evaluate
from sitsfuse.fusion.dates import plan_dates
from sitsfuse.fusion.fuse import fuse
from sitsfuse.readers import open_site
from sitsfuse.writers import write_site
from tests.helpers import scenes

DAYS = np.array(["2020-05-01", "2020-05-13"], "datetime64[ns]")


@pytest.fixture(scope="module")
def tree():
    return scenes.site(seed=1, targets=(5, 14))


@pytest.mark.parametrize(
    "every",
    ["3d", "3 days", 3, np.int64(3), datetime.timedelta(days=3), np.timedelta64(72, "h"), pd.Timedelta("3D")],
)
def test_a_step_is_a_number_of_days(every):
    times, _ = plan_dates(DAYS, every=every)
    assert [str(t)[8:10] for t in times] == ["01", "04", "07", "10", "13"]


@pytest.mark.parametrize("every", ["12h", 0, 1.5, True, datetime.timedelta(hours=12), pd.Timedelta("1.5D"), pd.NaT])
def test_other_steps_are_refused_in_words(every):
    with pytest.raises(InputError, match="is not a number of days"):
        plan_dates(DAYS, every=every)


@pytest.mark.parametrize("weights", [False, True])
def test_what_is_computed_later_is_the_same(tree, tmp_path, weights):
    write_site(tree, tmp_path / "site.zarr")
    more = (
        {"method": "ddi", "options": scenes.QUICK["ddi"], "weights": True}
        if weights
        else {"method": "difference", "every": "4d"}
    )
    lazy = fuse(open_site(tmp_path / "site.zarr"), compute=False, tile=32, **more)
    assert lazy.chunksizes["y"] == lazy.chunksizes["x"] == (32, 28)
    assert set(lazy.chunksizes["time"]) == {1}
    now = fuse(tree, tile=32, **more)
    assert set(lazy.variables) == set(now.variables)
    with dask.config.set(scheduler="threads", num_workers=2):
        later = lazy.compute()
    for name in now.data_vars:
        assert later[name].dims == now[name].dims
        assert later[name].dtype == now[name].dtype
        np.testing.assert_array_equal(later[name].values, now[name].values)


def test_nothing_is_predicted_before_it_is_asked_for(tree, monkeypatch):
    from sitsfuse.fusion import lazy as module
    from sitsfuse.fusion import run

    seen = []
    real = run.predict_window
    monkeypatch.setattr(module, "predict_window", lambda p, s, k, w, a: seen.append(w.core) or real(p, s, k, w, a))
    lazy = fuse(tree, method="difference", compute=False, tile=32)
    assert seen == []
    lazy["reflectance"].isel(time=0, y=slice(0, 10), x=slice(0, 10)).compute(scheduler="synchronous")
    assert seen == [(slice(0, 32), slice(0, 32))]


def test_what_is_computed_later_is_not_written(tree, tmp_path):
    with pytest.raises(InputError, match="compute: is False"):
        fuse(tree, tmp_path / "out", compute=False)


def test_a_client_runs_the_work_and_stays_open(tree, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        for k, scheduler in enumerate((client, cluster, "active")):
            place = tmp_path / f"{k}.zarr"
            assert fuse(tree, place, method="temporal", scheduler=scheduler, dates=[scenes.day(14)]) == place
        assert client.status == "running"
    with pytest.raises(InputError, match="no dask client is active"):
        fuse(tree, tmp_path / "a.zarr", method="temporal", scheduler="active")
    with pytest.raises(InputError, match="scheduler: is a int; give an address"):
        fuse(tree, tmp_path / "a.zarr", method="temporal", scheduler=3)
    with pytest.raises(InputError, match="is a client that is closed"):
        fuse(tree, tmp_path / "a.zarr", method="temporal", scheduler=client)


def test_paths_and_nodes_are_evaluated_like_series(tree, tmp_path):
    write_site(tree, tmp_path / "site.zarr")
    fused = fuse(tree, tmp_path / "fused.zarr", method="temporal")
    by_path = evaluate(fused, tmp_path / "site.zarr" / "reference", str(tmp_path / "site.zarr" / "target"))
    by_series = evaluate(fuse(tree, method="temporal"), tree["reference"], group(tree, "target"))
    pd.testing.assert_frame_equal(by_path, by_series)
