"""The feeder that the benchmarks run on: rows, customers and first envelopes of a network, computed once and kept.

Building rows takes many AC power flows, so what came out is kept in the user's cache directory under a name that contains the
network's content hash and a hash of the code that computes rows: another network, or another way of computing, is another file.
A file that cannot be read is computed again. `synthetic` needs no network at all: synthetic rows of a chosen size, for tests.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np

from envelopes.allocate import max_min
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Command, InstallRows, OpenArea, OpenInterval
from riskcheck.network import Network
from riskcheck.polytope import Polytope, RowLabel

AREA = "lv"
ROOMIER = 100
ROOT = Path(__file__).resolve().parent.parent
Progress = Callable[[str, float], None]


class Feeder(msgspec.Struct, frozen=True):
    """One area, ready to be opened. `rows` is `Polytope.to_bytes`; limits by customer, in the order of `terms`."""

    network: str
    terms: tuple[CustomerTerms, ...]
    rows: bytes
    export_w: tuple[int, ...]
    import_w: tuple[int, ...]

    @property
    def polytope(self) -> Polytope:
        return Polytope.from_bytes(self.rows)

    @property
    def size(self) -> str:
        rows = self.polytope
        return f"{self.network}: {len(self.terms)} customers, {rows.n_rights} rights, {rows.n_rows} rows"

    def unlimited(self) -> Feeder:
        """The same customers and envelopes on a network without limits: the bare book."""
        rows = Polytope.unlimited(2 * len(self.terms)).to_bytes()
        return msgspec.structs.replace(self, network=f"{self.network} without limits", rows=rows)

    def roomy(self) -> Feeder:
        """The same rows with a hundred times the room: every trade is checked, and none is blocked."""
        rows = self.polytope
        wide = Polytope(-(-rows.columns // ROOMIER), rows.slack, rows.labels)
        return msgspec.structs.replace(self, network=f"{self.network}, {ROOMIER} times its room", rows=wide.to_bytes())

    def opening(self, settings: MarketSettings) -> tuple[Command, ...]:
        return OpenArea(AREA, settings, self.terms), InstallRows(AREA, self.rows)

    def open_interval(self, interval_ms: int) -> OpenInterval:
        return OpenInterval(AREA, interval_ms, self.polytope.content_hash, self.export_w, self.import_w)


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/limex`, made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME")
    directory = (Path(base) if base else Path.home() / ".cache") / "limex"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def code_hash(folders: Iterable[str]) -> str:
    """Of every Python source in these packages: what a cached result depends on beside its arguments."""
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted(source for folder in folders for source in (ROOT / folder).glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def load(network: Network, progress: Progress) -> Feeder:
    """Rows and max-min envelopes of a network, from the cache where they are there."""
    kept = cache_directory() / f"feeder-{network.content_hash[:16]}-{code_hash(('riskcheck', 'envelopes'))}.msgpack"
    try:
        return msgspec.msgpack.decode(kept.read_bytes(), type=Feeder)
    except (OSError, msgspec.MsgspecError):
        feeder = _compute(network, progress)
    part = kept.with_suffix(f".{os.getpid()}")  # whole or not at all: two benchmarks may run at once
    part.write_bytes(msgspec.msgpack.encode(feeder))
    part.replace(kept)
    return feeder


def _compute(network: Network, progress: Progress) -> Feeder:
    from riskcheck.linearise import build

    rows = build(network, progress=progress)
    allocation = max_min(rows, network.floors_w(), network.caps_w())
    terms = tuple(
        CustomerTerms(c.id, c.rating_export_w, c.rating_import_w, c.failsafe_export_w, c.failsafe_import_w) for c in network.customers
    )
    return Feeder(network.name, terms, rows.to_bytes(), tuple(map(int, allocation.export_w)), tuple(map(int, allocation.import_w)))


def synthetic(customers: int, rows: int, seed: int = 1) -> Feeder:
    """Random rows that the envelopes fill: the size of a feeder without its physics."""
    random = np.random.default_rng(seed)
    coefficients = random.random((rows, 2 * customers)) * (random.random((rows, 2 * customers)) < 0.1)
    caps, floors = np.full(2 * customers, 10_000), np.full(2 * customers, 500)
    slack = coefficients.sum(axis=1) * 2_000 + 1
    labels = [RowLabel("thermal", f"line {row}", "abc") for row in range(rows)]
    polytope = Polytope.from_rows(coefficients, slack, labels, caps)
    allocation = max_min(polytope, floors, caps)
    terms = tuple(CustomerTerms(f"home{number:02d}", 10_000, 10_000, 500, 500) for number in range(1, customers + 1))
    limits = tuple(map(int, allocation.export_w)), tuple(map(int, allocation.import_w))
    return Feeder("synthetic rows", terms, polytope.to_bytes(), *limits)
