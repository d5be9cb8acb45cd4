"""The thin-plate spline against SciPy's."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from sitsfuse.core.grid import GridPair
from sitsfuse.operators.thin_plate import thin_plate
from tests.helpers import scenes


def centres(axis):
    """Positions of the LR pixels' centres, in HR pixels."""
    return (np.arange(axis.n_lr) + 0.5) * axis.ratio + axis.offset


@pytest.mark.parametrize(("ratio", "offset"), [(5.0, (0.0, 0.0)), (2.5, (0.7, -0.4)), (3.0, (1.0, 2.0))])
def test_the_spline_is_the_thin_plate_spline(ratio, offset):
    n = round(24 * ratio)
    grids = GridPair(*scenes.boxes(n, ratio, offset))
    low = np.random.default_rng(2).normal(0, 1, (2, *grids.lr.shape)).astype(np.float32)
    middle = np.arange(n // 2 - 5, n // 2 + 6)
    knots = np.stack(np.meshgrid(centres(grids.y), centres(grids.x), indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.stack(np.meshgrid(middle + 0.5, middle + 0.5, indexing="ij"), axis=-1).reshape(-1, 2)
    wanted = RBFInterpolator(knots, low.reshape(2, -1).T.astype(float), kernel="thin_plate_spline")(points)
    got = thin_plate(low, grids)[:, middle[:, None], middle].reshape(2, -1).T
    np.testing.assert_allclose(got, wanted, rtol=0, atol=5e-3)
    np.testing.assert_allclose(thin_plate(low * 0 + 0.3, grids), 0.3, rtol=0, atol=1e-6)
