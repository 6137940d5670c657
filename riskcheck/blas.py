"""Keeps numpy's OpenBLAS to one thread in this process.

The dense model multiplies and factors matrices of some hundred rows, thousands of times. There OpenBLAS's threads wait for
each other longer than they work: on two cores with another busy process a certificate of the 55-customer feeder took 5.3 s
with threads and 0.36 s without, and building its rows 12.8 against 11.6 s. OPENBLAS_NUM_THREADS would do the same, but only
if it is set before numpy is imported, which a library cannot decide. Other BLAS libraries are left alone.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np

_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


@lru_cache(maxsize=1)
def use_one_thread() -> bool:
    """True where an OpenBLAS was found beside numpy and told. Idempotent."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".libs", package / ".dylibs")
    for file in (file for folder in folders for file in folder.glob("*openblas*")):
        library = ctypes.CDLL(str(file))  # already loaded by numpy: the same library, not a second one
        for name in _SETTERS:
            if hasattr(library, name):
                getattr(library, name)(ctypes.c_int(1))
                return True
    return False
