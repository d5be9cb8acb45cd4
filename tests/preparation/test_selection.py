"""The choice of guides against all subsets; plans against small cases worked out by hand."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.errors import InputError
from sitsfuse.preparation.plan import Candidate
from sitsfuse.preparation.selection import plan, select_guides

START = np.datetime64("2019-03-01")


def image(day, clear=1.0, coverage=1.0, name="", hour=10.5):
    """An image some days after the first of March."""
    time = START + np.timedelta64(round((day * 24 + hour) * 3600), "s")
    return Candidate(time, coverage, clear, name or f"{day:g}")


def series(*days, **options):
    return [image(d, **options) for d in days]


def ids(images):
    return [c.id for c in images]


def cost(images, revisit, first, last):
    """The cost as the module states it, summed up in plain Python."""
    t = sorted((c.time - START) / np.timedelta64(1, "s") / 86400 for c in images)
    total = sum(1 - c.clear * c.coverage for c in images)
    total += sum(((b - a) / revisit - 1) ** 2 for a, b in itertools.pairwise(t))
    return total + (max(t[0] - first, 0) / revisit) ** 2 + (max(last - t[-1], 0) / revisit) ** 2


@st.composite
def candidates(draw):
    days = draw(st.lists(st.integers(0, 80), min_size=2, max_size=12, unique=True))
    share = st.integers(0, 10).map(lambda v: v / 10)
    return [image(d, draw(share), draw(share)) for d in draw(st.permutations(days))]


@given(candidates(), st.sampled_from([5.0, 20.0, 33.3]), st.sampled_from([None, 2, 3, 5]), st.booleans(), st.booleans())
@settings(max_examples=150)
def test_no_subset_is_cheaper(images, revisit, count, from_start, to_end):
    if count is not None and count > len(images):
        count = len(images)
    start, end = START if from_start else None, START + 100 if to_end else None
    first = 0 if from_start else min((c.time - START) / np.timedelta64(1, "D") for c in images)
    last = 100 if to_end else max((c.time - START) / np.timedelta64(1, "D") for c in images)
    chosen = select_guides(images, revisit, count=count, start=start, end=end, min_clear=0)
    sizes = range(2, len(images) + 1) if count is None else [count]
    best = min(cost(s, revisit, first, last) for n in sizes for s in itertools.combinations(images, n))
    assert count is None or len(chosen) == count
    assert len(set(chosen)) == len(chosen)
    times = [images[i].time for i in chosen]
    assert times == sorted(times)
    assert cost([images[i] for i in chosen], revisit, first, last) == pytest.approx(best, abs=1e-9)


def test_a_clear_dense_series_gives_an_even_revisit():
    days = range(0, 201, 5)
    assert [days[i] for i in select_guides(series(*days))] == list(range(0, 201, 20))
    assert [days[i] for i in select_guides(series(*days), 40)] == list(range(0, 201, 40))
    # No day is further than 20 days from a guide, at the ends as in the middle.
    assert [days[i] for i in select_guides(series(*days), count=5)] == [20, 60, 100, 140, 180]


def test_clouds_are_avoided_at_the_price_of_days():
    images = [image(0), image(18), image(20, clear=0.6), image(40)]
    assert ids(images[i] for i in select_guides(images)) == ["0", "18", "40"]
    # Eight days off are dearer than two fifths of the sky.
    images[1] = image(8)
    assert ids(images[i] for i in select_guides(images)) == ["0", "20", "40"]
    # A swath that covers half the site is worth as little as half the sky.
    images[1:3] = [image(12), image(20, coverage=0.3)]
    assert ids(images[i] for i in select_guides(images)) == ["0", "12", "40"]


def test_greedy_choice_would_fail():
    # The clear images at 13 and 27 lure into three uneven gaps; 20 balances both.
    images = [image(0), image(13), image(20, clear=0.9), image(27), image(40)]
    assert ids(images[i] for i in select_guides(images)) == ["0", "20", "40"]


def test_the_least_clear_share_and_the_period_are_kept():
    images = [*series(0, 20, 40, 60, 80), image(100, clear=0.2)]
    assert ids(images[i] for i in select_guides(images, min_clear=0.3)) == ["0", "20", "40", "60", "80"]
    chosen = select_guides(images, start=START + 20, end=START + 60)
    assert ids(images[i] for i in chosen) == ["20", "40", "60"]


def hr_and_lr():
    """HR every second day, LR every fifth: on the same days, or a day apart, three hours more or less."""
    hr = [image(d, name=f"H{d}") for d in range(0, 61, 2)]
    lr = [image(d, name=f"L{d}", hour=10.5 + (3 if d % 10 == 5 else 0)) for d in range(0, 61, 5)]
    return hr, lr


def test_a_benchmark():
    made = plan(*hr_and_lr())
    assert ids(made.guides) == ["H0", "H20", "H40", "H60"]
    # L5 is a day and three hours after H4, and 21 hours before H6.
    assert ids(made.targets) == ["L5", "L10", "L15", "L25", "L30", "L35", "L45", "L50", "L55"]
    assert ids(made.references) == ["H6", "H10", "H16", "H26", "H30", "H36", "H46", "H50", "H56"]
    assert [(p.target, p.reference) for p in made.pairs] == [(k, k) for k in range(9)]
    assert [p.same_day for p in made.pairs] == [False, True, False] * 3
    assert [p.days for p in made.pairs] == pytest.approx([21 / 24, 0, 21 / 24] * 3)
    reasons = {s.image.id: s.reason for s in made.skipped}
    assert reasons["L20"] == "of the day of a guide"
    assert reasons["H2"] == "the nearest LR image is 3.1 days away"
    assert reasons["H4"] == "the nearest LR image is 1.1 days away"
    everyone = [*made.guides, *made.targets, *made.references, *(s.image for s in made.skipped)]
    assert sorted(ids(everyone)) == sorted(ids(itertools.chain(*hr_and_lr())))


def test_less_than_max_days_is_strict():
    hr = [image(0), image(11), image(20), image(40)]
    lr = [image(10, name="L10"), image(12.001, name="L12")]
    with pytest.raises(InputError, match=r"nearest LR image is 1.0 days from a reference; raise selection.max_days"):
        plan(hr, lr, max_days=1.0)
    assert ids(plan(hr, lr, max_days=1.0001).targets) == ["L10"]
    assert ids(plan(hr, [image(10.001, name="A"), lr[1]]).targets) == ["A"]


def test_each_has_its_own_partner():
    # Two references beside one LR image, the second one nearer; and an LR image that only a guide is near.
    hr = series(0, 9.5, 10.6, 20, 40)
    lr = [image(10.2, name="L"), image(40.9, name="G"), image(30, name="far")]
    made = plan(hr, lr)
    assert (ids(made.targets), ids(made.references)) == (["L"], ["10.6"])
    reasons = {s.image.id: s.reason for s in made.skipped}
    assert reasons == {
        "9.5": "the nearest LR image has a nearer one",
        "G": "near a guide only",
        "far": "the nearest reference is 19.4 days away",
    }
    # A second LR image gives the other reference a partner.
    made = plan(hr, [*lr, image(9, name="M")])
    assert ids(made.targets) == ["M", "L"]
    assert [(made.targets[p.target].id, made.references[p.reference].id) for p in made.pairs] == [
        ("M", "9.5"),
        ("L", "10.6"),
    ]


def test_one_image_per_day():
    hr = [*series(0, 20, 40), image(10, clear=0.9, coverage=0.5, name="half"), image(10, 0.8, 0.9, "most", hour=11)]
    made = plan(hr, [image(10, name="L10", clear=0.5), image(10, name="again", hour=9)])
    assert ids(made.references) == ["most"]
    assert ids(made.targets) == ["again"]
    assert {s.image.id: s.reason for s in made.skipped} == {
        "half": "most shows more on the same day",
        "L10": "again shows more on the same day",
    }


def test_production_uses_everything():
    hr, lr = hr_and_lr()
    hr[3] = image(6, clear=0.01, name="H6")
    made = plan(hr, lr, mode="production", end=START + 40)
    assert ids(made.guides) == [f"H{d}" for d in range(0, 41, 2) if d != 6]
    assert ids(made.targets) == [f"L{d}" for d in range(0, 41, 5)]
    assert (made.references, made.pairs) == ((), ())
    assert {s.image.id: s.reason for s in made.skipped if s.series == "hr"}["H6"] == "only 1 % clear"
    assert {s.reason for s in made.skipped if s.series == "lr"} == {"outside the period"}
    assert ids(plan(hr, lr, mode="production", guides=4).guides) == ["H0", "H20", "H40", "H60"]


def test_the_table_and_its_totals():
    hr, lr = hr_and_lr()
    hr[5] = image(10, clear=0.87, coverage=0.95, name="H10")
    made = plan(hr, lr)
    rows = made.table()
    assert json.loads(json.dumps(rows)) == rows
    assert len(rows) == len(hr) + len(lr)
    assert [r["date"] for r in rows] == sorted(r["date"] for r in rows)
    row = next(r for r in rows if r["id"] == "H10")
    assert row == {
        "date": "2019-03-11",
        "role": "reference",
        "series": "hr",
        "id": "H10",
        "clear": 0.87,
        "coverage": 0.95,
        "paired": "2019-03-11",
        "gap": 0.0,
        "same_day": True,
        "reason": "",
    }
    target = next(r for r in rows if r["id"] == "L5")
    assert (target["paired"], target["gap"], target["same_day"]) == ("2019-03-07", 0.875, False)
    text = made.format().splitlines()
    assert text[-1] == (
        "4 guides (median revisit 20 d, longest gap 20 d), 9 targets, 3 of them the same day as their reference"
    )
    held = next(t for t in text if "reference  HR       87 %" in t)
    assert " ".join(held.split()) == "2019-03-11 reference HR 87 % 95 % 2019-03-11 0.00 yes"
    # What stands right of the shares begins in the same column everywhere.
    assert len({t.index("%", t.index("%") + 1) for t in text[1:-1]}) == 1
    production = plan(hr, lr, mode="production")
    assert production.format().endswith("31 guides (median revisit 2 d, longest gap 2 d), 13 targets")
    assert [r["date"] for r in production.table() if r["role"] == "guide" and r["same_day"]] == [
        f"{START + d}" for d in range(0, 61, 10)
    ]


@pytest.mark.parametrize(
    ("hr", "lr", "options", "message"),
    [
        ([], series(1), {}, "guides: there is no HR image in the period"),
        (series(1, 20), [], {}, "targets: there is no LR image in the period"),
        (series(1), series(1), {}, "1 of 1 HR images can be used and 2 are needed"),
        ([image(0), image(9, 0.039), image(20, 0.02)], series(9), {}, "lower min_clear_hr to 0.03"),
        (series(0, 9, 20), [image(9, 0.01)], {}, "lower min_clear_lr to 0.01"),
        (series(0, 9, 20), series(9), {"guides": 4}, "3 of 3 HR images can be used and 4 are needed; ask for fewer"),
        (series(0, 20), series(9), {}, "all 2 usable HR images are guides"),
        (series(0, 9, 20), series(20), {}, "every LR image is of the day of a guide"),
        (series(0, 9, 20), series(12.2), {}, "3.2 days from a reference; raise selection.max_days"),
        (series(0, 9, 20), series(9), {"mode": "best"}, "'best' is not known"),
        (series(0, 9, 20), series(9), {"revisit": 0}, "revisit: 0 is not usable"),
        (series(0, 9, 20), series(9), {"max_days": -1}, "max_days: -1 is not usable"),
        (series(0, 9, 20), series(9), {"guides": 1}, "1 is not enough"),
    ],
)
def test_what_cannot_work_says_what_to_relax(hr, lr, options, message):
    with pytest.raises(InputError, match=message):
        plan(hr, lr, **options)
