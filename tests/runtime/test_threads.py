"""Every library runs on one thread per worker."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sitsfuse.runtime.threads import bound, default_workers


def test_bound_gives_blas_one_thread():
    np.linalg.inv(np.eye(3))  # loads BLAS
    with threadpool_limits(limits=2):
        bound()
        pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
        assert pools
        assert all(p["num_threads"] == 1 for p in pools)


def test_bound_holds_in_threads_that_start_later():
    torch = pytest.importorskip("torch")
    bound()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1


def test_workers():
    assert default_workers() >= 1
