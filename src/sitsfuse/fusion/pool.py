"""Where the work of a run is done: on threads of this process, or on a dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_threads
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InputError, missing_extra
from ..runtime import threads


class Pool(Protocol):
    """Takes tasks. What one has made may be given to others without coming back in between."""

    @property
    def slots(self) -> int:
        """Tasks that run at once."""
        ...

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start a task; a task among its arguments, which must be done, stands for its result."""
        ...

    def wait(self, tasks: list[Any]) -> list[Any]:
        """Those of some tasks that are done, at least one."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads of this process: nothing travels."""

    executor: ThreadPoolExecutor
    slots: int

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """See `Pool`."""
        return self.executor.submit(function, *(a.result() if isinstance(a, Future) else a for a in args))

    def wait(self, tasks: list[Future[Any]]) -> list[Future[Any]]:
        """See `Pool`."""
        return list(wait_threads(tasks, return_when=FIRST_COMPLETED).done)


@dataclass(frozen=True)
class Cluster:
    """A dask cluster: what a task has made goes from worker to worker, once to each, and is made again if one dies."""

    client: Any
    slots: int

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Pool`."""
        return self.client.submit(function, *args, pure=False)

    def wait(self, tasks: list[Any]) -> list[Any]:
        """See `Pool`."""
        from distributed import wait

        with self.client.as_current():
            return list(wait(tasks, return_when="FIRST_COMPLETED").done)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def open_pool(workers: int | None, scheduler: Any) -> Iterator[Pool]:
    """Threads, or the cluster of a scheduler: its address, a cluster, a client, or "active" for the one that is."""
    if scheduler is None:
        count = workers or threads.default_workers()
        with ThreadPoolExecutor(count, thread_name_prefix="sitsfuse") as executor:
            yield Threads(executor, count)
        return
    try:
        import distributed
    except ImportError as error:
        raise missing_extra("scale", "distributed (needed by `scheduler`)") from error
    if isinstance(scheduler, distributed.Client) or scheduler == "active":
        client = _active() if scheduler == "active" else scheduler
        if client.status != "running":
            raise InputError("`scheduler`", f"is a client that is {client.status}", "connect it")
        yield _cluster(client)  # which stays open: it is not ours
        return
    address = getattr(scheduler, "scheduler_address", scheduler)
    if not isinstance(address, str):
        what = f"is a {type(scheduler).__name__}"
        raise InputError("`scheduler`", what, "give an address, a dask Client or a cluster")
    try:
        # Not the default client: one that fails to connect would stay that, and later computations would hang.
        client = distributed.Client(address, timeout="20s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(address, "no dask scheduler answers", "check the address, e.g. tcp://host:8786") from error
    with client:
        yield _cluster(client)


def _active() -> Any:
    """The client that is active in this process."""
    import distributed

    try:
        return distributed.get_client()
    except ValueError as error:
        raise InputError("`scheduler`", "no dask client is active", "make one: dask.distributed.Client()") from error


def _cluster(client: Any) -> Cluster:
    return Cluster(client, max(2, sum(client.nthreads().values())))
