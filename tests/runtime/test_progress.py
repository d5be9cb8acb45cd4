"""One callback tells the progress of every long run."""

import inspect

import pytest

import sitsfuse
from sitsfuse.catalogue.download import download
from sitsfuse.preparation import plan_site
from sitsfuse.runtime.progress import renamed, silent

LONG = [sitsfuse.benchmark, sitsfuse.demo, sitsfuse.fuse, sitsfuse.prepare, sitsfuse.report, sitsfuse.train]


@pytest.mark.parametrize("function", [*LONG, plan_site, download], ids=lambda f: f.__name__)
def test_every_long_run_takes_the_same_callback(function):
    report = inspect.signature(function).parameters["report"]
    assert report.annotation == "Progress"
    assert report.default is silent


def test_a_fusion_names_its_stage_and_counts_tiles():
    told = []
    site = sitsfuse.simulate(size=40, guides=3, targets=2)
    sitsfuse.fuse(site, method="difference", tile=32, report=lambda *step: told.append(step))
    assert {stage for stage, _, _ in told} == {"fusing"}
    assert {total for _, _, total in told} == {2 * 4}  # dates × tiles
    done = [count for _, count, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 8)


def test_a_step_of_a_longer_run_is_told_as_a_stage_of_it():
    told = []
    renamed(lambda *step: told.append(step), "weights")("fusing", 3, 4)
    assert told == [("weights", 3, 4)]
