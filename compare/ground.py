"""What planning leaves before a day begins: rows and envelopes by band of the interface voltage, static limits, and their certificates.

Fit-and-forget plans once, for the whole range of the interface voltage:

    rating      nobody is limited but by the own connection
    5 kW        export at most 5 kW per connection, import up to the rating: the limit that many operators write into contracts
    equal       one limit for everybody and both directions, the largest that is secure whatever anybody does

Envelopes are refreshed by band (`compare/days.py`), max-min (`envelopes.refresh.allocate`), on the rows of the band or on those of the
whole range, whichever leave the smallest envelope larger: verified rows have margins that were searched for, so that a narrower range
need not give more. All of it is computed once per network and code, in two processes, and kept in the user's cache directory.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.feeder import cache_directory, code_hash
from compare.days import band_edges
from envelopes.pools import Processes
from envelopes.refresh import Policy, allocate
from riskcheck.certify import Certifier
from riskcheck.linearise import build
from riskcheck.network import Network
from riskcheck.polytope import Polytope

STATIC_EXPORT_W = 5_000
PROCESSES = 2
Progress = Callable[[str, float], None]


class Limits(msgspec.Struct, frozen=True):
    """One set of envelopes in watts, and what the AC certificate says of it: margins by kind of limit, negative where it is broken."""

    export_w: tuple[int, ...]
    import_w: tuple[int, ...]
    is_secure: bool
    margins: dict[str, float]


class Band(msgspec.Struct, frozen=True):
    """Secure rows while the interface voltage is in this range (`Polytope.to_bytes`), and max-min envelopes on them."""

    low_pu: float
    high_pu: float
    rows: bytes
    limits: Limits
    rows_s: float
    allocate_s: float

    @property
    def polytope(self) -> Polytope:
        return Polytope.from_bytes(self.rows)


class Ground(msgspec.Struct, frozen=True):
    bands: tuple[Band, ...]
    static: dict[str, Limits]


def prepare(network: Network, progress: Progress) -> Ground:
    """From the cache where it is there. Raises Insecure and InsecureFloorsError where the network cannot even carry the failsafe."""
    code = code_hash(("compare", "riskcheck", "envelopes"))
    kept = cache_directory() / f"compare-{network.content_hash[:16]}-{code}.msgpack"
    try:
        return msgspec.msgpack.decode(kept.read_bytes(), type=Ground)
    except (OSError, msgspec.MsgspecError):
        ground = _compute(network, progress)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_bytes(msgspec.msgpack.encode(ground))
    part.replace(kept)
    return ground


def _compute(network: Network, progress: Progress) -> Ground:
    """The whole range first: its rows are good in every band."""
    ranges = [(network.interface_min_pu, network.interface_max_pu), *band_edges(network)]
    built: list[Built] = []
    with Processes(PROCESSES) as pool:
        for rows in pool.map(partial(_built, network), ranges):
            built.append(rows)
            progress("rows from AC sensitivities", len(built) / (len(ranges) + 1))
        bands = pool.map(partial(_band, network), ranges[1:], built[1:], [built[0]] * len(built[1:]))
        static = pool.submit(_static, network, built[0])
        return Ground(tuple(bands), static.result())


def within(network: Network, low_pu: float, high_pu: float) -> Network:
    """The same network while the interface keeps a narrower range."""
    return dataclasses.replace(network, interface_min_pu=low_pu, interface_max_pu=high_pu)


class Built(NamedTuple):
    rows: bytes
    seconds: float


def _built(network: Network, edges: tuple[float, float]) -> Built:
    began_s = time.process_time()
    rows = build(within(network, *edges))
    return Built(rows.to_bytes(), time.process_time() - began_s)


def _band(network: Network, edges: tuple[float, float], own: Built, whole: Built) -> Band:
    banded = within(network, *edges)
    began_s = time.process_time()
    candidates = [(built, allocate(banded, Polytope.from_bytes(built.rows))) for built in (own, whole)]
    allocate_s = (time.process_time() - began_s) / len(candidates)
    built, found = max(candidates, key=lambda one: min(one[1].export_w.min(), one[1].import_w.min()))
    return Band(*edges, built.rows, _limits(banded, found.export_w, found.import_w), own.seconds, allocate_s)


def _static(network: Network, whole: Built) -> dict[str, Limits]:
    """The three of fit-and-forget."""
    half = len(network.customers)
    caps = network.caps_w()
    export_w, import_w = caps[:half], caps[half:]
    equal = allocate(network, Polytope.from_bytes(whole.rows), Policy("equal"))
    return {
        "rating": _limits(network, export_w, import_w),
        "5kw": _limits(network, np.minimum(export_w, STATIC_EXPORT_W), import_w),
        "equal": _limits(network, equal.export_w, equal.import_w),
    }


def _limits(network: Network, export_w: object, import_w: object) -> Limits:
    exports, imports = np.asarray(export_w, dtype=np.int64), np.asarray(import_w, dtype=np.int64)
    found = Certifier(network).certify(exports, imports)
    margins = {kind.kind: kind.margin for kind in found.kinds}
    return Limits(tuple(map(int, exports)), tuple(map(int, imports)), found.secure, margins)
