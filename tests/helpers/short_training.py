"""What the tests of training share: quick options, and ways to die."""

import pytest

TINY = {"features": 8, "groups": 2, "tail": 4, "batch": 2, "patch": 8, "device": "cpu"}
"""Options of a network that is trained in no time."""
STEPS = 14


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Tests share the cores, where threads that wait for each other are slow; and they need few patches to judge by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sitsfuse.runtime.threads.default_workers", lambda: 1)
        patch.setattr("sitsfuse.superresolution.training.loop.HELD", 1)
        yield


class Killed(BaseException):
    """Stands for a signal: nothing may catch it."""


def killer(stage, step):
    """A report that kills a training at a step of a stage."""

    def report(name, done, total):
        if (name, done) == (stage, step):
            raise Killed

    return report
