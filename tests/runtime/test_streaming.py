"""Blocks with their margins: every pixel read once, owned once, and seen with all around it."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.runtime.streaming import stream


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    side=st.integers(1, 40),
    reach=st.integers(1, 6),
    least=st.sampled_from([1, 8]),
    workers=st.integers(1, 3),
)
@settings(max_examples=60)
def test_every_pixel_is_read_once_and_owned_once(shape, side, reach, least, workers):
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    mask = image[0] > 0
    read, owned, whole = (np.zeros(shape, int) for _ in range(3))

    def load(window):
        read[window] += 1
        return image[:, *window], mask[window]

    def work(block):
        np.testing.assert_array_equal(block.arrays[0], image[:, *block.window])
        np.testing.assert_array_equal(block.arrays[1], mask[block.window])
        for core, window, n in zip(block.core, block.window, shape, strict=True):
            # All within reach of what the block owns is here, up to the image's border.
            assert window.start <= max(core.start - reach, 0)
            assert window.stop >= min(core.stop + reach, n)
        np.testing.assert_array_equal(image[0][block.core], block.arrays[0][0][block.inner(block.core)])
        return block.core, block.read

    for core, window in stream(load, work, shape, side=side, reach=reach, least=least, workers=workers):
        owned[core] += 1
        whole[window] += 1
        if least > 1:
            assert all(s.start % least == 0 for s in window)
            assert all(s.stop - s.start >= min(least, n) for s, n in zip(window, shape, strict=True))
    for count in (read, owned, whole):
        assert (count == 1).all()


def test_results_come_in_order_and_few_blocks_wait():
    alive, most = 0, 0
    lock = threading.Lock()

    def load(window):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return (np.zeros([s.stop - s.start for s in window]),)

    def work(block):
        nonlocal alive
        with lock:
            alive -= 1
        return block.read[0].start, block.read[1].start

    found = list(stream(load, work, (90, 50), side=10, reach=1, workers=2))
    assert found == sorted(found)
    assert len(found) == 45
    assert most <= 6


def test_an_error_ends_the_stream():
    seen = []

    def load(window):
        seen.append(window)
        if len(seen) == 3:
            raise OSError("unreadable")
        return (np.zeros([s.stop - s.start for s in window]),)

    with pytest.raises(OSError, match="unreadable"):
        list(stream(load, lambda block: None, (200, 10), side=10, reach=1))
    assert len(seen) < 6
