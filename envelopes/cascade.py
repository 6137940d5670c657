"""The cascade from the highest operator down to the homes: one agreement, then grants from area to area.

`cascade` reads a split network into operators. `run` lets them agree on voltages (`envelopes/agreement.py`), asks everybody what
it wants, and grants from the top: each area's power is a right of the area above and becomes the limits of its own interface, down
to homes. `check` says whether that nests, from the operators' own figures.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from envelopes.agreement import Agreement, agree
from envelopes.interface import Area, split
from envelopes.operator import Link, Operator
from envelopes.operator_messages import Grant, Range, Report
from riskcheck.customers import TABLES
from riskcheck.network import Network, load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envelopes.boundary import MoreRows

    Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outcome:
    """What was agreed for one tree of operators, and what its top reports about everybody below."""

    agreement: Agreement
    report: Report


@dataclass(frozen=True, eq=False)
class Cascade:
    """Operators by area name, every one after the one above it."""

    areas: dict[str, Area]
    operators: dict[str, Operator]

    def run(self, progress: Progress | None = None) -> dict[str, Outcome]:
        """Envelopes for everybody, by the name of the top. Raises NoAgreement where a top can serve no level at all."""
        tops = [name for name, area in self.areas.items() if area.parent is None]
        return {name: granted_from_the_top(self.operators[name], progress) for name in tops}

    def envelopes_w(self) -> dict[str, tuple[int, int]]:
        """Every home's envelope (export, import) by customer id."""
        found = {}
        for operator in self.operators.values():
            exports, imports = np.split(operator.envelopes_w, 2)
            for i, customer in enumerate(operator.base.customers):
                found[customer.id] = int(exports[i]), int(imports[i])
        return found

    def check(self) -> None:
        """Asserts that every grant is a right of the area above, and everything given below it fits in it."""
        for name, operator in self.operators.items():
            for child, grant in operator.grants.items():
                assert self.operators[child].grant == grant, f"{child} works under another grant than {name} gave"
                assert self.areas[child].parent == name, f"{name} grants to {child}, which is not below it"
            exports, imports = np.split(operator.envelopes_w, 2)
            if operator.grant is not None and self.areas[name].parent is not None:
                assert exports.sum() <= operator.grant.export_w, f"{name} gives out more export than it was granted"
                assert imports.sum() <= operator.grant.import_w, f"{name} gives out more import than it was granted"


def granted_from_the_top(top: Operator, progress: Progress | None = None) -> Outcome:
    """Agreement, requests and grants of one tree: the top has no one above it, so it grants itself what it wants."""
    around = Range(top.base.interface_min_pu, top.base.interface_max_pu)
    agreement = agree(top, around, progress)
    wanted = top.request(around, agreement.level)
    grant = Grant(operator=top.name, export_w=wanted.export_w, import_w=wanted.import_w, range=around, reactive=wanted.reactive)
    report = top.send(grant)
    assert isinstance(report, Report), f"{top.name} refuses what it asked for: {report}"
    return Outcome(agreement, report)


def cascade(net: Any, by: str = "level", more_rows: Mapping[str, MoreRows] | None = None) -> Cascade:
    """Operators of a pandapower network, one for each area; `more_rows` by area, see `envelopes/outage_rows.py`.

    Raises BadNetwork with all findings.
    """
    areas = split(net, by)
    operators: dict[str, Operator] = {}
    for name in reversed(areas):  # those below first
        base, at = own_base(areas[name])
        links = {child: Link(bus, operators[child]) for child, bus in at.items()}
        operators[name] = Operator(name, base, links, (more_rows or {}).get(name))
    return Cascade(areas, {name: operators[name] for name in areas})


def own_base(area: Area) -> tuple[Network, dict[str, int]]:
    """An area's network with its own customers, and at which of its buses (position) each area below begins."""
    base = own_network(area)
    return base, {name: base.bus_names.index(str(bus)) for name, bus in area.interfaces.items()}


def own_network(area: Area) -> Network:
    """An area's network with its own customers; it may have none if areas below have some."""
    if not area.interfaces or any(len(area.net[table]) for table in TABLES):
        return load(area.net)
    import pandapower  # takes seconds

    net = copy.deepcopy(area.net)
    pandapower.create_load(net, next(iter(area.interfaces.values())), p_mw=0.001, name="nobody")
    return replace(load(net), customers=())
