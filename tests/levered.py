"""A line with one inverter that the operator may set, for tests of recourse.

    interface ------ bus 1 ------ bus 2       anna at bus 1; ben, with an inverter of 60 kvar, at bus 2

Over-voltage at bus 2 binds, and ben's watts raise it four times as much as anna's: what she sells him is blocked. Rows are proven and
take milliseconds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pandapower as pp

from envelopes.refresh import Plan, plan
from riskcheck.network import Network, load
from tests.grids import line, source
from tests.operated import AREA, SETTINGS

WATTS = 10_000


@lru_cache(maxsize=4)
def network(reactive_var_max: int = 60_000, rating_a: float = 400.0, import_w: int = 20_000) -> Network:
    net = source()
    for _ in range(2):
        pp.create_bus(net, vn_kv=0.4)
    line(net, 0, 1, 0.05 + 0.03j, 0.2 + 0.12j, 400.0)
    line(net, 1, 2, 0.15 + 0.10j, 0.6 + 0.40j, rating_a)
    for bus, name in ((1, "anna"), (2, "ben")):
        pp.create_load(net, bus, p_mw=0.001, name=name)
    net.load["power_factor"] = 1.0
    net.load["rating_export_w"], net.load["rating_import_w"] = 100_000, import_w  # with 20 kW under-voltage stays away
    net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 1_000, 1_000
    net.load["reactive_var_max"] = [0, reactive_var_max]
    return load(net)


@lru_cache(maxsize=4)
def ready(**changes: Any) -> Plan:
    return plan(network(**changes), AREA, SETTINGS)
