"""Things that are made once."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sitsfuse.runtime.memo import Memo


def test_what_was_made_is_kept_by_key():
    memo, calls = Memo(), []

    def make(value):
        calls.append(value)
        return [value]

    first = memo("a", lambda: make(1))
    assert memo("a", lambda: make(2)) is first
    assert memo(("a", 1), lambda: make(3)) == [3]
    assert memo("none", lambda: None) is memo("none", lambda: make(4)) is None
    assert calls == [1, 3]
    assert len(memo) == 3


def test_one_thread_makes_it_and_the_others_wait():
    memo, calls, begun, go = Memo(), [], threading.Event(), threading.Event()

    def make():
        calls.append(0)
        begun.set()
        assert go.wait(30)
        return object()

    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(memo, "a", make) for _ in range(3)]
        assert begun.wait(30)
        # Another key does not wait.
        assert memo("b", lambda: 1) == 1
        go.set()
        assert len({task.result() for task in tasks}) == 1
    assert len(calls) == 1


def test_a_failure_is_not_kept():
    memo = Memo()
    with pytest.raises(ZeroDivisionError):
        memo("a", lambda: 1 / 0)
    assert memo("a", lambda: 2) == 2


def test_what_is_there_travels():
    memo = Memo()
    memo("a", lambda: [1])
    again = pickle.loads(pickle.dumps(memo))
    assert again("a", lambda: [2]) == [1]
    assert again("b", lambda: 3) == 3
