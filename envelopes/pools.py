"""Where the periodic job's pieces are solved: in processes of this machine, or on a Dask cluster.

Both are `concurrent.futures.Executor`s, made anew whenever one broke. Dask comes with the `cluster` extra and is imported only here; a
local cluster is for trying it, an address (`tcp://scheduler:8786`) for a real one, whose workers must have limex installed.

Processes here end with their parent, whatever ended it, and at once when it is interrupted.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from types import TracebackType
from typing import Any

Pool = Callable[[], Executor]


class NoClusterError(ValueError):
    """The cluster that was asked for cannot be had."""


class Processes(ProcessPoolExecutor):
    """Spawned: forked ones would share threads of numerical libraries."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        """After an error nobody waits for what is being solved."""
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()
        return super().__exit__(kind, error, trace)


def _begin() -> None:
    """In the worker: an interrupt from the terminal is for the parent, and without a parent there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def processes(workers: int) -> Pool:
    """A pool of so many processes."""
    return lambda: Processes(workers)


@contextmanager
def cluster(where: str) -> Iterator[Pool]:
    """`local:N` starts a cluster of N processes here, anything else is the address of a scheduler. Raises NoClusterError."""
    try:
        dask: Any = importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise NoClusterError("Dask is not installed: pip install 'limex[cluster]'") from error
    workers = where.removeprefix("local:")
    if where != workers and not (workers.isdigit() and int(workers)):
        raise NoClusterError(f"{where} is not local:N with a number of workers")
    try:
        if where == workers:
            client = dask.Client(where, timeout=10)
        else:
            client = dask.Client(dask.LocalCluster(n_workers=int(workers), threads_per_worker=1, dashboard_address=None))
    except (OSError, ValueError) as error:
        raise NoClusterError(f"no scheduler answers at {where}: {error}") from error
    try:
        with client:
            yield lambda: client.get_executor(retries=1, pure=False)
    finally:
        if where != workers:
            client.cluster.close()
