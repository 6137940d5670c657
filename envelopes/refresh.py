"""From a network to what the exchange is told: rows, allocation, certificate, and the commands that carry them.

One area, one set of rows: sensitivities on the AC operating point, packing rows, max-min envelopes, AC certificate. An
allocation whose certificate is not secure is never turned into a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from envelopes.allocate import Allocation, InsecureFloorsError, max_min
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import InstallRows, OpenArea, OpenInterval
from riskcheck.certificate import Certificate
from riskcheck.certify import certify
from riskcheck.linearise import build
from riskcheck.network import Network
from riskcheck.polytope import Polytope

Progress = Callable[[str, float], None]


class InsecureAllocationError(Exception):
    """The envelopes break a limit in AC: the rows are wrong. Nothing may be traded on them."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__("the allocated envelopes break a limit in AC power flow; the rows of this network cannot be trusted")
        self.certificate = certificate


class Plan(NamedTuple):
    """One area, ready to trade."""

    area: str
    network: Network
    rows: Polytope
    allocation: Allocation
    certificate: Certificate
    settings: MarketSettings

    def terms(self) -> tuple[CustomerTerms, ...]:
        """The network's customers as the market knows them, in the same order."""
        return tuple(
            CustomerTerms(
                c.id, c.rating_export_w, c.rating_import_w, c.failsafe_export_w, c.failsafe_import_w,
                order_w_max=max(c.rating_export_w, c.rating_import_w, 1),
            )
            for c in self.network.customers
        )  # fmt: skip

    def opening(self) -> tuple[OpenArea, InstallRows]:
        """What an exchange that does not know the area yet is told first."""
        return OpenArea(self.area, self.settings, self.terms()), InstallRows(self.area, self.rows.to_bytes())

    def open_interval(self, interval_ms: int) -> OpenInterval:
        export_w, import_w = (tuple(map(int, limits)) for limits in (self.allocation.export_w, self.allocation.import_w))
        return OpenInterval(self.area, interval_ms, self.rows.content_hash, export_w, import_w)


def allocate(network: Network, rows: Polytope) -> Allocation:
    """Max-min fair envelopes between failsafe and rating. Raises InsecureFloorsError where even the failsafe is too much."""
    try:
        return max_min(rows, network.floors_w(), network.caps_w())
    except InsecureFloorsError as error:
        remedy = "lower failsafe_export_w or failsafe_import_w of its customers, or strengthen the network"
        raise InsecureFloorsError(f"{network.name}: the failsafe envelopes are not secure ({error}); {remedy}") from error


def on_rows(ready: Plan, rows: Polytope) -> Plan:
    """The same area on tighter rows, allocated anew; the auditor sees to the evidence."""
    return ready._replace(rows=rows, allocation=allocate(ready.network, rows))


def plan(network: Network, area: str, settings: MarketSettings, progress: Progress | None = None, effort: str = "quick") -> Plan:
    """Rows, envelopes and their certificate for one area. Raises InsecureAllocationError."""
    rows = build(network, progress=progress)
    allocation = allocate(network, rows)
    if progress is not None:
        progress("certifying the envelopes with AC power flow", 0.0)
    certificate = certify(network, allocation.export_w, allocation.import_w, effort=effort)
    if not certificate.secure:
        raise InsecureAllocationError(certificate)
    if progress is not None:
        progress("certifying the envelopes with AC power flow", 1.0)
    return Plan(area, network, rows, allocation, certificate, settings)
