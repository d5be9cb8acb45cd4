"""What protocols leave out, against sets of days counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sitsfuse
from sitsfuse.benchmarking.protocols import Protocol, withhold
from sitsfuse.errors import InputError

DAY = np.datetime64("2020-06-15")


def at(*offsets):
    """Times so many days after DAY, at half past ten."""
    return np.array([DAY + np.timedelta64(k, "D") for k in offsets], "datetime64[ns]") + np.timedelta64(630, "m")


def offsets(times):
    return [int(d) for d in (times.astype("datetime64[D]") - DAY).astype(int)]


NOON = at(0)[0]


@pytest.mark.parametrize(
    ("text", "guides", "targets"),
    [
        ("standard", [-40, -20, -10, 10, 30], [-10, -5, 0, 5, 10]),
        ("forecast", [-40, -20, -10], [-10, -5, 0]),
        ("no-lr", [-40, -20, -10, 10, 30], [-10, -5, 5, 10]),
        ("guide-gap:40", [-40, 30], [-10, -5, 0, 5, 10]),
        ("target-gap:12", [-40, -20, -10, 10, 30], [-10, 10]),
    ],
)
def test_what_is_left(text, guides, targets):
    protocol = Protocol.parse(text)
    hr, lr = at(-40, -20, -10, 0, 1, 10, 30), at(-10, -5, 0, 5, 10)
    answer = DAY + np.timedelta64(1, "D")
    assert offsets(hr[protocol.guides(hr, NOON, answer)]) == guides
    assert offsets(lr[protocol.targets(lr, NOON)]) == targets
    assert str(protocol) == text


@given(
    st.sets(st.integers(-90, 90), min_size=1),
    st.sampled_from(["standard", "forecast", "no-lr", "guide-gap:30", "target-gap:30"]),
)
def test_no_guide_of_the_day_or_of_the_answers(days, text):
    times = at(*sorted(days))
    kept = offsets(times[Protocol.parse(text).guides(times, NOON, DAY - np.timedelta64(1, "D"))])
    assert not {0, -1} & set(kept)


def test_what_cannot_be_predicted():
    hr, lr = at(5, 20), at(0, 5, 10)
    assert Protocol.parse("forecast").problem(hr, lr, NOON, DAY) == "no guide is left"
    assert Protocol.parse("no-lr").problem(hr, lr, NOON, DAY) == "no LR image is left before it or after it"
    assert Protocol.parse("standard").problem(hr, lr, NOON, DAY) == ""
    assert Protocol.parse("no-lr").problem(hr, lr, at(5)[0], DAY) == ""


@pytest.mark.parametrize("text", ["", "gap", "guide-gap", "guide-gap:", "guide-gap:-3", "target-gap:x", "forecast:3"])
def test_unknown(text):
    with pytest.raises(InputError, match=r"^protocols: "):
        Protocol.parse(text)


def test_withheld_site():
    site = sitsfuse.simulate(size=40, guides=4, targets=3)
    date = site["target"]["time"].values[1]
    part = withhold(site, Protocol.parse("forecast"), date, date)
    assert (part["guide"]["time"].values < date).all()
    assert part["target"]["time"].values[-1] == date
    assert "reference" not in part.children
    assert part.attrs["ratio"] == site.attrs["ratio"]
    assert part.attrs["name"] == site.attrs["name"]
