"""From a network to what the exchange is told: rows, allocation, certificate, and the commands that carry them.

One area, one set of rows: sensitivities on the AC operating point, packing rows, envelopes by the operator's policy (max-min
where it asks for nothing else), AC certificate. An allocation whose certificate is not secure is never turned into a command.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from envelopes import files
from envelopes.allocate import Allocation, InsecureFloorsError, Order
from envelopes.allocate import allocate as share_out
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


class Policy(NamedTuple):
    """How an operator shares out: a rule of `envelopes.rules`, weights by customer or by right (None: all alike), which direction first."""

    rule: str = "max_min"
    weights: tuple[float, ...] | None = None
    order: Order = "together"


MAX_MIN = Policy()
ALIKE, BY_RATING = "alike", "rating"


class Plan(NamedTuple):
    """One area, ready to trade."""

    area: str
    network: Network
    rows: Polytope
    allocation: Allocation
    certificate: Certificate
    settings: MarketSettings
    policy: Policy = MAX_MIN

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


def policy_of(network: Network, rule: str = "max_min", weights: str = ALIKE, order: Order = "together") -> Policy:
    """In an operator's words: weights are `alike`, `rating`, or a CSV file with the columns customer and weight.

    Raises ValueError where the file does not name every customer once.
    """
    if weights in (ALIKE, BY_RATING):
        return Policy(rule, tuple(map(float, network.caps_w())) if weights == BY_RATING else None, order)
    return Policy(rule, tuple(files.read_weights(Path(weights), [customer.id for customer in network.customers])), order)


def allocate(network: Network, rows: Polytope, policy: Policy = MAX_MIN) -> Allocation:
    """Envelopes between failsafe and rating. Raises InsecureFloorsError where even the failsafe is too much."""
    try:
        return share_out(rows, network.caps_w(), network.floors_w(), rule=policy.rule, weights=policy.weights, order=policy.order)
    except InsecureFloorsError as error:
        remedy = "lower failsafe_export_w or failsafe_import_w of its customers, or strengthen the network"
        raise InsecureFloorsError(f"{network.name}: the failsafe envelopes are not secure ({error}); {remedy}") from error


def on_rows(ready: Plan, rows: Polytope) -> Plan:
    """The same area on tighter rows, allocated anew; the auditor sees to the evidence."""
    return ready._replace(rows=rows, allocation=allocate(ready.network, rows, ready.policy))


def plan(
    network: Network, area: str, settings: MarketSettings, progress: Progress | None = None, effort: str = "quick",
    policy: Policy = MAX_MIN,
) -> Plan:  # fmt: skip
    """Rows, envelopes and their certificate for one area. Raises InsecureAllocationError."""
    rows = build(network, progress=progress)
    allocation = allocate(network, rows, policy)
    if progress is not None:
        progress("certifying the envelopes with AC power flow", 0.0)
    certificate = certify(network, allocation.export_w, allocation.import_w, effort=effort)
    if not certificate.secure:
        raise InsecureAllocationError(certificate)
    if progress is not None:
        progress("certifying the envelopes with AC power flow", 1.0)
    return Plan(area, network, rows, allocation, certificate, settings, policy)
