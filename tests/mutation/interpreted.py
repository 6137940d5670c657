"""numba's decorator without numba: a mutant of a compiled file runs as plain Python, since compiling it would take seconds.

Numbers stay numpy's, so integers have the same width; a division by zero is an error, as it is when compiled; only speed differs. That
the files decide the same when they are not compiled is tested first: without a mistake every judge must be content in both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

np.seterr(divide="raise")


def njit(function: Callable[..., Any] | None = None, **_: object) -> Any:
    if function is None:
        return njit
    function.compile = lambda _signature: function  # type: ignore[attr-defined]
    return function
