"""The pace of a replay: as fast as it goes, or a multiple of the speed at which the market ran.

Time is that of the exchange's own clock, batch by batch. Whoever waits here can be interrupted at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONG_S = 3.0


class Pace:
    """`speed` 1 is real time, 10 ten times as fast; None does not wait at all. `on_long_wait` hears of seconds in which nothing comes."""

    def __init__(
        self,
        speed: float | None,
        on_long_wait: Callable[[float], None] = lambda _seconds: None,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._on_long_wait = on_long_wait
        self._clock_s = clock_s
        self._sleep = sleep
        self._first: tuple[int, float] | None = None  # recorded milliseconds, our seconds

    def wait(self, at_ms: int) -> None:
        """Returns when a batch recorded at this time is due. A clock that was set back while recording costs no wait."""
        if self._speed is None:
            return
        if self._first is None:
            self._first = at_ms, self._clock_s()
        began_ms, began_s = self._first
        ahead_s = (at_ms - began_ms) / 1000 / self._speed - (self._clock_s() - began_s)
        if ahead_s > LONG_S:
            self._on_long_wait(ahead_s)
        if ahead_s > 0:
            self._sleep(ahead_s)
