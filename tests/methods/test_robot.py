"""ROBOT against a slow version of its formula and scipy's solvers, and what it is said to do."""

import numpy as np
import pytest
from scipy import optimize

from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods.robot import ROBOT
from sitsfuse.methods.robot.patches import Patches
from sitsfuse.methods.shared.moments import FLAT
from sitsfuse.operators.residual import spread_residual
from sitsfuse.operators.updown import down
from sitsfuse.stats.nonnegative import solve
from tests.helpers import scenes
from tests.methods.test_vipstf import slow_gapless

pytestmark = pytest.mark.filterwarnings("error", "ignore::PendingDeprecationWarning")

MOST = 2.0
"""The published bound on the sum of the weights."""
DAY = [scenes.day(14)]
GRIDS = {
    "x5": {"n": 50},
    "x2.5 shifted": {"ratio": 2.5, "offset": (1.2, -0.7), "n": 41},
    "x4 on a part": {"ratio": 4.0, "offset": (0.0, 21.0), "n": 44},
}


def least_squares(rows, wanted):
    """Weights ≥ 0 with a sum of at most two."""
    found, _ = optimize.nnls(rows, wanted)
    if found.sum() <= MOST:
        return found
    scale = np.abs(rows).max()
    answer = optimize.minimize(
        lambda a: (((rows @ a - wanted) / scale) ** 2).sum() / 2,
        found * MOST / found.sum(),
        jac=lambda a: rows.T @ (rows @ a - wanted) / scale**2,
        bounds=[(0, None)] * len(found),
        constraints={"type": "ineq", "fun": lambda a: MOST - a.sum(), "jac": lambda a: -np.ones(len(a))},
        options={"ftol": 1e-16, "maxiter": 1000},
        method="SLSQP",
    )
    return answer.x * min(1, MOST / answer.x.sum())  # it may leave the bound by 1e-7


def spans(n, side):
    """Where patches of three cells start: every two cells, together centred on the image."""
    cell = side // 3
    count = 1
    while (2 * count + 1) * cell < n:
        count += 1
    start = -(((2 * count + 1) * cell - n) // 2)
    return [(start + 2 * cell * p, start + 2 * cell * p + side) for p in range(count)]


def inside(axis, start, stop):
    """(lr,) share of each LR pixel that lies in HR positions."""
    left = axis.ratio * np.arange(axis.n_lr) + axis.offset
    return np.clip(np.minimum(left + axis.ratio, stop) - np.maximum(left, start), 0, None) / axis.ratio


def slow_patch(ys, xs, problem, pair, near, prior, beta, ridge):
    """The weights of one patch, from its pixels stacked as equations."""
    fine, some, coarse, target, known = problem
    n = len(fine)
    share = np.outer(inside(pair.y, *ys), inside(pair.x, *xs)) * known
    if share.sum() == 0:
        return prior
    used = share > 0
    root = np.sqrt(share[used])
    lr = (coarse[:, :, used] * root).reshape(n, -1).T.astype(float)
    shown = (target[:, used] * root).ravel().astype(float)
    hr_window = np.s_[max(ys[0], 0) : ys[1], max(xs[0], 0) : xs[1]]
    ok = some[hr_window]
    hr = fine[:, :, *hr_window][:, :, ok].reshape(n, -1).T.astype(float)
    size = beta * np.sqrt(share.sum() / max(ok.sum(), 1))
    change = ((lr - (lr @ prior)[:, None]) ** 2).sum() / share.sum()
    strength = np.sqrt((ridge * change + FLAT * (lr**2).sum()) / n)
    return least_squares(
        np.vstack([lr, size * hr, strength * np.eye(n)]), np.r_[shown, size * hr[:, near], strength * prior]
    )


def slow(tree, date, side, beta, ridge, residual):
    fine, some, coarse, _, target, known, prior = slow_gapless(tree, date)
    pair, n = pair_of(tree), len(fine)
    near = int(np.argmin(np.abs(group(tree, "guide")["time"].values - date)))
    number, weights, corrected = np.zeros(some.shape), np.zeros((n, *some.shape)), np.zeros((n + 1, *some.shape))
    sums = []
    for ys in spans(some.shape[0], side):
        for xs in spans(some.shape[1], side):
            found = slow_patch(ys, xs, (fine, some, coarse, target, known), pair, near, prior, beta, ridge)
            sums.append(found.sum())
            add = residual == "always" or (residual == "auto" and not 0.98 <= found.sum() <= 1.02)
            here = np.s_[max(ys[0], 0) : ys[1], max(xs[0], 0) : xs[1]]
            number[here] += 1
            weights[:, *here] += found[:, None, None]
            corrected[:, *here] += add * np.r_[found, 1][:, None, None]
    weights, corrected = weights / number, corrected / number
    image = (weights[:, None] * fine).sum(axis=0)
    left = np.zeros(target.shape, np.float32)
    along_y, along_x = (
        np.stack([inside(axis, i, i + 1) for i in range(size)], axis=1)
        for axis, size in zip((pair.y, pair.x), some.shape, strict=True)
    )
    for y, x in np.argwhere(known):
        covers = np.outer(along_y[y], along_x[x])
        mean = (corrected * covers).sum(axis=(1, 2)) / covers.sum()
        left[:, y, x] = mean[n] * target[:, y, x] - mean[:n] @ coarse[:, :, y, x]
    return np.where(some, image + spread_residual(left, known, pair), np.nan), sums


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    "options",
    [
        {"beta": 0.1, "ridge": 1.0, "residual": "always"},
        {"beta": 0.7, "ridge": 0.0, "residual": "auto"},
    ],
)
def test_it_is_the_formula(options, grid):
    # An LR image on a guide's day: noise tells it from the degraded guide.
    tree = scenes.site(seed=7, cloudy=0.5, noise=0.01, targets=(0, 14, 21, 33), **GRIDS[grid])
    out = fuse(tree, method=ROBOT(patch=15, **options), dates=DAY).isel(time=0)
    wanted, sums = slow(tree, np.datetime64(DAY[0]), 15, **options)
    np.testing.assert_array_equal(out["valid"].values, np.isfinite(wanted).all(axis=0))
    np.testing.assert_allclose(out["reflectance"].values, wanted, rtol=0, atol=1e-5)
    if options["residual"] == "auto":
        balanced = [0.98 <= s <= 1.02 for s in sums]
        assert any(balanced)
        assert not all(balanced)


def test_weights_never_add_up_to_more_than_two():
    tree = scenes.site(seed=7, cloudy=0.3)
    bright = scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 3))
    options = {"beta": 0.1, "ridge": 1.0, "residual": "never"}
    wanted, sums = slow(bright, np.datetime64(DAY[0]), 15, **options)
    assert sum(s > MOST - 1e-6 for s in sums) > 5
    out = fuse(bright, method=ROBOT(patch=15, **options), dates=DAY).isel(time=0)
    np.testing.assert_allclose(out["reflectance"].values, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_the_solver_is_scipys(n, gain):
    rng = np.random.default_rng(n)
    prior = rng.dirichlet(np.ones(n))
    squares, products, wanted = [], [], []
    for k in range(30):
        # Guides resemble each other: the more so, the harder.
        rows = 0.2 + 10.0 ** -(k % 3) * rng.normal(size=(40, n)) * 0.1
        shown = gain * rows @ rng.dirichlet(np.full(n, 0.3)) + 0.01 * rng.normal(size=40)
        squares.append(rows.T @ rows)
        products.append(rows.T @ (shown - rows @ prior))
        wanted.append(least_squares(rows, shown))
    found = solve(np.array(squares), np.array(products), prior, MOST)
    best = np.array(wanted)
    assert (found >= 0).all()
    assert (found.sum(axis=1) <= MOST + 1e-9).all()
    assert ((best.sum(axis=1) > MOST - 1e-6).any()) == (gain > MOST)

    def cost(a):
        change = a - prior
        return np.einsum("pi,pij,pj->p", change, squares, change) / 2 - np.einsum("pi,pi->p", change, products)

    assert (cost(found) <= cost(best) + 1e-9).all()
    tame = np.arange(30) % 3 == 0
    np.testing.assert_allclose(found[tame], best[tame], rtol=0, atol=1e-4)


@pytest.mark.parametrize("cell", [1, 4, 10])
def test_patches_cover_the_image_and_tiles_see_the_same_ones(cell):
    for n in (1, 3, 7, 29, 30, 31, 64):
        whole = Patches.over(n, cell)
        starts = [whole.start + 2 * cell * p for p in range(whole.count)]
        assert [s for s, _ in spans(n, 3 * cell)] == starts
        shares = whole.share(n)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        for first in range(0, n, 5):
            size = min(9, n - first)
            tile = whole.within(first, size)
            there = [tile.start + first + 2 * cell * p for p in range(tile.count)]
            assert there == [s for s in starts if s < first + size and s + 3 * cell > first]
            columns = slice(starts.index(there[0]), starts.index(there[-1]) + 1)
            np.testing.assert_array_equal(tile.share(size), shares[first : first + size, columns])


def test_tiles_are_the_whole_on_a_wide_image():
    tree = scenes.site(n=110, ratio=2.5, seed=2)
    for method in (ROBOT(), ROBOT(patch=9, residual="auto")):
        whole, tiled = (fuse(tree, method=method, dates=DAY, tile=side) for side in (4096, 30))
        for name in ("reflectance", "uncertainty"):
            np.testing.assert_allclose(tiled[name].values, whole[name].values, rtol=0, atol=1e-6)


def shows(tree, image):
    """The site with a target that shows an HR image at all dates."""
    shown, _ = down(image.astype(np.float32), np.ones(image.shape[1:], bool), pair_of(tree))
    return scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + shown))


@pytest.mark.parametrize("residual", ["auto", "always", "never"])
def test_without_change_a_guide_comes_back(residual):
    tree = scenes.change(scenes.site(seed=8, cloudy=0.0), guide=lambda s: s.isel(time=[1]))
    guide = group(tree, "guide")["reflectance"].values[0]
    out = fuse(shows(tree, guide), method=ROBOT(residual=residual), dates=DAY)
    np.testing.assert_allclose(out["reflectance"].values[0], guide, rtol=0, atol=1e-6)


def test_a_change_that_is_alike_everywhere_is_carried_over():
    tree = scenes.change(scenes.site(seed=8, cloudy=0.0), guide=lambda s: s.isel(time=[1]))
    guide = group(tree, "guide")["reflectance"].values[0]
    out = fuse(shows(tree, 1.2 * guide), method=ROBOT(beta=0.0, residual="never"), dates=DAY)
    np.testing.assert_allclose(out["reflectance"].values[0], 1.2 * guide, rtol=0, atol=1e-5)
    # No multiple of the guide is the guide plus a constant: the residual brings the level.
    for residual, missing in (("never", 0.005), ("always", 0.0005)):
        out = fuse(shows(tree, guide + 0.05), method=ROBOT(residual=residual), dates=DAY)
        added = (out["reflectance"].values[0] - guide).mean(axis=(1, 2))
        assert (np.abs(added - 0.05).max() < missing) == (residual == "always")


def test_the_residual_is_added_where_the_weights_are_out_of_balance():
    tree = scenes.change(scenes.site(seed=8, cloudy=0.0), guide=lambda s: s.isel(time=[1]))
    guide = group(tree, "guide")["reflectance"].values[0]
    rng = np.random.default_rng(0)
    for gain, like in ((1.0, "never"), (1.2, "always")):
        shown = shows(tree, gain * guide * (1 + 0.002 * rng.normal(size=guide.shape)))
        images = {r: fuse(shown, method=ROBOT(residual=r), dates=DAY) for r in ("auto", "always", "never")}
        assert not images["always"].equals(images["never"])
        assert images["auto"].equals(images[like])


def test_beta_keeps_the_details_of_the_nearest_guide():
    tree = scenes.site(seed=4, cloudy=0.0, guides=(0, 13, 40))
    near = group(tree, "guide")["reflectance"].values[1]
    far = shows(tree, group(tree, "guide")["reflectance"].values[2])
    errors = [
        float(
            np.abs(fuse(far, method=ROBOT(beta=b, residual="never"), dates=DAY)["reflectance"].values[0] - near).max()
        )
        for b in (0.0, 1.0, 100.0)
    ]
    assert errors[0] > 1.5 * errors[1] > 15 * errors[2]


def test_the_choices_name_the_nearest_guide_and_the_patch():
    tree = scenes.site(seed=1, guides=(0, 20, 60), targets=(0, 12))
    choices = ROBOT().study(tree).fit(np.datetime64(scenes.day(12))).choices
    assert choices["lr_at_guides"] == ["target, degraded guide in its gaps", "degraded guide", "degraded guide"]
    assert choices["nearest_guide"] == scenes.day(20)
    assert choices["patch"] == 30
    assert ROBOT(patch=16).study(tree).fit(np.datetime64(scenes.day(12))).choices["patch"] == 15


@pytest.mark.parametrize("options", [{"patch": -3}, {"beta": -1.0}, {"ridge": -0.1}, {"residual": "sometimes"}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=f"^{next(iter(options))}: "):
        ROBOT(**options)
