"""The energy of violations: what flows above ratings, and what homes draw or feed in while their voltage is out of range.

No standard says how to count it. OpenDSS's EnergyMeter (registers "Overload kWh Normal" and "Load EEN") takes the worst overload of a
radial zone, and a share of each load whose voltage is low or that is behind an overload. After it, but by conductor and both ways:

* **Above ratings.** In a radial network one power passes many lines, and a sum over lines would count it as often as the line is drawn in
  pieces. So of every conductor (phase a, b, c, neutral) only the place that exceeds its rating most counts, with the power that it carries
  above the rating at nominal voltage. Conductors add up: phases carry different homes, but what also overloads the neutral, or the
  interface, which counts like a conductor, counts there once more.
* **Out of range.** The power of every home, drawn or fed in, while the voltage at its connection is out of range on a phase that it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from riskcheck.limits import KINDS
from riskcheck.monitors import POWERS

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.limits import Limits
    from riskcheck.reduced import Reduced

    Floats = npt.NDArray[np.float64]

INTERFACE = 4  # the conductor after a, b, c and neutral


class Breaches:
    """A network's limits, ready to turn their excess f [scenarios, n_limits] into power."""

    def __init__(self, model: Reduced, limits: Limits) -> None:
        kinds = np.array(KINDS)[limits.kind]
        phase = model.monitors.phase[limits.monitor]
        self._conductor = np.where(kinds == "interface", INTERFACE, np.where(kinds == "thermal", phase, -1))
        self._rated_va = _rated_va(model, limits, self._conductor)
        self._at_home = _at_home(model, limits, kinds)
        self._n_homes = model.n_customers

    def above_va(self, f: Floats) -> Floats:
        """Power above ratings in every scenario."""
        above_va = np.maximum(f, 0.0) * self._rated_va
        worst = [above_va[:, self._conductor == one].max(axis=1, initial=0.0) for one in range(INTERFACE + 1)]
        return np.asarray(np.sum(worst, axis=0))

    def outside_w(self, f: Floats, power_w: Floats, tolerance: float) -> Floats:
        """Power of homes whose voltage is out of range in every scenario. power_w: [scenarios, injectors], homes first."""
        is_outside = (f > tolerance).astype(np.int64) @ self._at_home > 0
        return np.asarray((np.abs(power_w[:, : self._n_homes]) * is_outside).sum(axis=1))


def _rated_va(model: Reduced, limits: Limits, conductor: npt.NDArray[np.int64]) -> Floats:
    """By limit, the power of its conductor at its rating and nominal voltage; in a balanced network that of all phases. 0 for voltages."""
    network, element = model.network, model.monitors.element[limits.monitor]
    of_interface = dict(zip(POWERS, (network.interface_export_w_max, network.interface_import_w_max), strict=True))
    rated_va = np.zeros(len(conductor))
    for limit in np.flatnonzero(conductor >= 0):
        if conductor[limit] == INTERFACE:
            rated_va[limit] = of_interface[POWERS[element[limit]]]
            continue
        branch = network.branches[element[limit]]
        rating_a = branch.rating_a if conductor[limit] < INTERFACE - 1 else branch.neutral_rating_a
        rated_va[limit] = rating_a * network.bus_nominal_v[branch.to_bus] * (3 if network.phases == 1 else 1)
    return rated_va


def _at_home(model: Reduced, limits: Limits, kinds: npt.NDArray[np.str_]) -> sparse.csr_array:
    """1 where a voltage limit is at a home and on a phase that it uses, [n_limits, n_homes]."""
    monitors, network = model.monitors, model.network
    at: dict[tuple[int, int], list[int]] = {}
    for home, customer in enumerate(network.customers):
        for phase in [0] if network.phases == 1 else map("abc".index, customer.phase):
            at.setdefault((customer.bus, phase), []).append(home)
    places = zip(monitors.element[limits.monitor].tolist(), monitors.phase[limits.monitor].tolist(), strict=True)
    is_voltage = np.char.startswith(kinds, "voltage")
    pairs = [(limit, home) for limit, place in enumerate(places) if is_voltage[limit] for home in at.get(place, [])]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(pairs), dtype=np.int64), (rows, columns)), shape=(len(kinds), len(network.customers)))
