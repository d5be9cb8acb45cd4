"""Series in different units, and images without their scale, are noticed before anything is fitted to them."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from sitsfuse.core.levels import APART, SIDE, check_levels, levels
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from tests.helpers.scenes import change as changed
from tests.helpers.scenes import site


def change(tree, **series):
    return changed(tree, **{role: lambda _, new=new: new for role, new in series.items()})


def times(series, factor, dates=slice(None)):
    out = series.copy(deep=True)
    out.reflectance.values[dates] *= np.float32(factor)
    return out


def test_levels_are_medians_of_valid_magnitudes():
    tree = site()
    guide = tree["guide"].to_dataset().copy(deep=True)
    guide.reflectance.values[0, 0] = -7
    guide.valid.values[1] = False
    chosen, found = levels(guide)
    assert chosen == list(range(guide.sizes["time"]))
    assert found[0, 0] == 7
    assert np.isnan(found[1]).all()
    assert guide.sizes["x"] > SIDE


@pytest.mark.parametrize("role", ["guide", "target"])
@pytest.mark.parametrize("factor", [1e4, 1 / 30])
def test_two_units_are_refused_and_the_larger_is_named(role, factor):
    tree = site()
    tree = change(tree, **{role: times(tree[role].to_dataset(), factor)})
    named = role if factor > 1 else {"guide": "target", "target": "guide"}[role]
    with pytest.raises(InputError, match=rf"^{named}: has numbers .* times as large"):
        check_levels(tree)
    with pytest.raises(InputError, match="times as large"):
        fuse(tree, method="difference")


@pytest.mark.parametrize("factor", [0.2, 1, 3])
def test_what_seasons_and_sensors_do_is_left_alone(factor):
    tree = site()
    check_levels(change(tree, target=times(tree["target"].to_dataset(), factor)))
    assert factor < APART


@pytest.mark.parametrize(("factor", "size"), [(1e4, "as large"), (1e-4, "as small")])
def test_an_image_without_its_scale_is_named(factor, size):
    tree = site()
    guide = times(tree["guide"].to_dataset(), factor, 1)
    day = str(guide.time.values[1])[:10]
    with pytest.raises(InputError, match=rf"guide: {day}: holds numbers .* times {size}"):
        check_levels(change(tree, guide=guide))


def test_both_in_other_units_are_a_word_unless_said(caplog):
    tree = site()
    tree = change(tree, **{r: times(tree[r].to_dataset(), 1e4) for r in ("guide", "target")})
    with caplog.at_level(logging.WARNING, "sitsfuse"):
        check_levels(tree)
    assert len(caplog.messages) == 2
    assert "are not reflectance" in caplog.text
    caplog.clear()
    named = {r: tree[r].to_dataset().assign_attrs(quantity="temperature") for r in ("guide", "target")}
    check_levels(change(tree, **named))
    assert not caplog.messages


def test_nothing_valid_is_no_level():
    tree = site()
    target = tree["target"].to_dataset().copy(deep=True)
    target.valid.values[:] = False
    check_levels(change(tree, target=target))
