"""Robust means and what a correction gains, against repeated draws and plain formulas."""

import math

import numpy as np
import pytest

from sitsfuse.stats.heldout import Estimate, Verdict, gain, location


def test_a_location_lies_within_two_of_its_errors_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for count in (8, 30):
        found = [location(rng.standard_normal(count), np.ones(count)) for _ in range(400)]
        inside = np.mean([e.evidence < 2 for e in found])
        assert 0.84 < inside < 0.98
        assert np.std([e.value for e in found]) == pytest.approx(np.mean([e.error for e in found]), rel=0.15)


def test_clouds_do_not_move_a_location():
    rng = np.random.default_rng(1)
    values = 0.02 + 0.002 * rng.standard_normal(20)
    values[:4] += rng.uniform(0.1, 0.5, 4)
    assert location(values, np.ones(20)).value == pytest.approx(0.02, abs=0.002)
    assert np.mean(values) > 0.04


def test_values_of_one_part_count_as_one():
    rng = np.random.default_rng(2)
    values = rng.standard_normal(5).repeat(4)
    apart, joined = location(values, np.ones(20)), location(values, np.ones(20), [k // 4 for k in range(20)])
    assert joined.count == pytest.approx(5)
    assert joined.error > 1.8 * apart.error


def test_few_values_do_not_agree_by_chance():
    tight = [0.5, 0.5001]
    assert location(tight, [1, 1]).evidence > 1000
    assert location(tight, [1, 1], prior=(1.0, 2.0)).evidence < 1
    assert location([0.5], [1]).error == math.inf
    assert Estimate(0.0, 0.0, 1).evidence == 0


def test_what_is_gained_is_the_mean_over_parts():
    before, after = np.log([0.4, 0.2, 0.1]), np.log([0.2, 0.1, 0.1])
    share, found = gain(before, after, np.ones(3), ["a", "a", "b"])
    # Part a halves the difference, part b leaves it; a holds twice as much.
    assert found.value == pytest.approx(2 / 3 * math.log(2))
    assert share == pytest.approx(1 - 0.5 ** (2 / 3))
    assert found.count == pytest.approx(9 / 5)
    alone = gain(before, after, np.ones(3), ["a"] * 3)[1]
    assert alone.error == math.inf


def test_verdicts_are_used_or_not():
    assert [Verdict(s).used for s in ("applied", "doubtful", "not applied", "off")] == [True, True, False, False]
