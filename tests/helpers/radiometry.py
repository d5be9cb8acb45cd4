"""Samples of two sensors that saw the same land."""

import numpy as np


def land(n, rng, bands=1):
    """(band, n) reflectances of four kinds of fields; bands are alike but not the same."""
    kind = np.array([0.04, 0.09, 0.15, 0.22])[rng.integers(0, 4, n)]
    return np.array([(0.6 + 0.2 * b) * kind + 0.02 * rng.standard_normal(n) for b in range(bands)])


def seen(truth, gain, offset, rng, noise=0.002):
    """What an LR sensor sees of it that ``gain`` and ``offset`` make right again."""
    shape = (-1,) + (1,) * (np.ndim(truth) - 1)
    gain, offset = np.reshape(gain, shape), np.reshape(offset, shape)
    return (truth - offset) / gain + noise * rng.standard_normal(truth.shape)
