"""Token bucket in integers: no float drifts, no clock of its own."""

from __future__ import annotations

from math import ceil

SCALE = 1_000_000  # a request costs this many micro-tokens


class Bucket:
    """Fills with `rate_per_s` up to `burst`; each request takes one. Time that runs backwards fills nothing."""

    __slots__ = ("_burst", "_filled_ms", "_per_ms", "_tokens")

    def __init__(self, rate_per_s: float, burst: int, now_ms: int) -> None:
        self._per_ms = max(1, round(rate_per_s * SCALE / 1000))
        self._burst = burst * SCALE
        self._tokens = self._burst
        self._filled_ms = now_ms

    def take(self, now_ms: int, reserve: int = 0) -> int:
        """0 if the request may pass and leaves `reserve` in the bucket; else the milliseconds until it might, nothing taken."""
        if now_ms > self._filled_ms:
            self._tokens = min(self._burst, self._tokens + (now_ms - self._filled_ms) * self._per_ms)
            self._filled_ms = now_ms
        missing = (reserve + 1) * SCALE - self._tokens
        if missing > 0:
            return ceil(missing / self._per_ms)
        self._tokens -= SCALE
        return 0
