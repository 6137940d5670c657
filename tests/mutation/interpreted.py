"""numba's decorator without numba: a mutant of a compiled file runs as plain Python, since compiling it would take seconds.

Inside, numbers stay numpy's, so integers have the same width; what leaves through `compile` is a number of Python's, and a division by
zero is an error, as when it is compiled; only speed differs. That the files decide the same when they are not compiled is tested first:
without a mistake every judge must be content in both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

np.seterr(divide="raise")


def njit(function: Callable[..., Any] | None = None, **_: object) -> Any:
    if function is None:
        return njit
    function.compile = lambda _signature: _leaving(function)  # type: ignore[attr-defined]
    return function


def _leaving(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        found = function(*arguments)
        return found.item() if isinstance(found, np.generic) else found

    return called
