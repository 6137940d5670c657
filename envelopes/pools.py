"""Where the periodic job's pieces are solved: in processes of this machine, or on a Dask cluster.

Both are `concurrent.futures.Executor`s, made anew whenever one broke. Dask comes with the `cluster` extra and is imported only here; a
local cluster is for trying it, an address (`tcp://scheduler:8786`) for a real one, whose workers must have limex installed.
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

Pool = Callable[[], Executor]


class NoClusterError(ValueError):
    """The cluster that was asked for cannot be had."""


def processes(workers: int) -> Pool:
    """A pool of so many processes, spawned: forked ones would share threads of numerical libraries."""
    return lambda: ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


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
    with client:
        yield lambda: client.get_executor(retries=1, pure=False)
        if where != workers:
            client.cluster.close()
