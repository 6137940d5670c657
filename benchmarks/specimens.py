"""Networks and operating points of the validation: six published networks and two of our own, each at six points.

Our own, in three phases and balanced:

    street    20 kV --Dyn5, 2 taps, z0 > z1-- 0 --- 1 --- 2         three-phase, meshed, cables with charging current
                                              |     |  X  |
                                              3 --- 4 --- 5

    town      110 kV ==YNd5 (taps +3 and +1, in parallel)== 0 --- 1 --- 2     balanced, meshed, taps on either side,
                                                            |           |     phase shifts of 150, 30 and 7.5 degrees
                                                            3 --shift-- 4 --Dyn1, tap on the low side-- 5 (0.4 kV)

Operating points: the powers as given at rated voltage; then, each scaled until the first limit is met, all export at the upper
end of the interface range, all import at the lower, two random mixtures of both, and opposition: phase a exports while b and c
import, or in a balanced network the first half of the customers exports while the second imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from riskcheck.reduced import Reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from riskcheck.network import Network

    Floats = NDArray[np.float64]

SEED = 20_261_122
GIVEN = {"load": -1.0, "sgen": 1.0, "asymmetric_load": -1.0, "asymmetric_sgen": 1.0}  # sign of an export
IDEAL_MVA, NO_MAGNETISING_PERCENT = 1e9, 1e9
SHARE_WITHOUT_ROOM = 0.1  # of the ratings, where a limit is broken already without customers


class Point(NamedTuple):
    name: str
    power_w: Floats
    interface_pu: float


def street(*, magnetising: bool = True) -> Any:
    """Three-phase, meshed low voltage behind a Dyn5 transformer with taps, iron losses and its own zero sequence."""
    import pandapower

    net = _source(20.0)
    buses = [pandapower.create_bus(net, vn_kv=0.4) for _ in range(6)]
    _transformer(
        net,
        0,
        buses[0],
        (20.0, 0.4),
        sn_mva=0.4,
        shift_degree=150.0,
        vector_group="Dyn",
        tap_side="hv",
        tap_pos=2,
        vk0_percent=7.5,
        vkr0_percent=1.9,
    )
    net.trafo[["pfe_kw", "i0_percent"]] *= magnetising
    for start, end in ((0, 1), (1, 2), (0, 3), (3, 4), (4, 5), (1, 4), (2, 5), (1, 5), (2, 4)):
        _cable(
            net,
            buses[start],
            buses[end],
            0.15 + 0.05 * start,
            ohm=0.32 + 0.082j,
            zero_ohm=1.28 + 0.3j,
            nanofarad=(480.0, 310.0),
            ampere=200.0,
        )
    for bus, phase in ((1, "a"), (1, "c"), (2, "b"), (3, "a"), (4, "c"), (5, "b"), (5, "a")):
        pandapower.create_asymmetric_load(net, buses[bus], **{f"p_{phase}_mw": 0.004})
    pandapower.create_asymmetric_load(net, buses[2], p_a_mw=0.003, p_b_mw=0.003, p_c_mw=0.003)
    return net


def town(shift_degree: float = 7.5) -> Any:
    """Balanced: two parallel high-voltage transformers on different taps, a phase shifter in a loop, a tap on a low side."""
    import pandapower

    net = _source(110.0)
    buses = [pandapower.create_bus(net, vn_kv=20.0) for _ in range(5)] + [pandapower.create_bus(net, vn_kv=0.4)]
    for tap_pos in (3, 1):
        _transformer(
            net,
            0,
            buses[0],
            (110.0, 20.0),
            sn_mva=25.0,
            shift_degree=150.0,
            tap_side="hv",
            tap_pos=tap_pos,
            vk_percent=12.0,
            vkr_percent=0.4,
        )
    for start, end in ((0, 1), (1, 2), (0, 3), (2, 4)):
        _cable(net, buses[start], buses[end], 4.0 + start, ohm=0.5 + 0.35j, zero_ohm=2.0 + 1.4j, nanofarad=(150.0, 150.0), ampere=300.0)
    _transformer(net, buses[3], buses[4], (20.0, 20.0), sn_mva=10.0, shift_degree=shift_degree, tap_side="hv", tap_pos=0)
    _transformer(net, buses[4], buses[5], (20.0, 0.4), sn_mva=0.63, shift_degree=30.0, tap_side="lv", tap_pos=-2)
    for bus, mw in ((1, 1.5), (2, 1.0), (3, 0.8), (5, 0.2)):
        pandapower.create_load(net, buses[bus], p_mw=mw)
    return net


def _source(kv: float) -> Any:
    import pandapower

    net = pandapower.create_empty_network()
    pandapower.create_ext_grid(net, pandapower.create_bus(net, vn_kv=kv), rx_max=0.1, r0x0_max=0.1, x0x_max=1.0, s_sc_max_mva=IDEAL_MVA)
    return net


def _transformer(net: Any, high: int, low: int, kv: tuple[float, float], **columns: Any) -> None:
    import pandapower

    usual = {"vk_percent": 6.0, "vkr_percent": 1.2, "vk0_percent": 6.0, "vkr0_percent": 1.2, "pfe_kw": 1.0, "i0_percent": 0.5}
    tap = {"tap_neutral": 0, "tap_min": -9, "tap_max": 9, "tap_step_percent": 2.5, "tap_changer_type": "Ratio"}
    zero = {"mag0_percent": NO_MAGNETISING_PERCENT, "mag0_rx": 0.0, "si0_hv_partial": 0.5}
    pandapower.create_transformer_from_parameters(net, high, low, vn_hv_kv=kv[0], vn_lv_kv=kv[1], **(usual | tap | zero | columns))


def _cable(
    net: Any, start: int, end: int, km: float, *, ohm: complex, zero_ohm: complex, nanofarad: tuple[float, float], ampere: float
) -> None:
    """Impedances and capacitances by km."""
    import pandapower

    pandapower.create_line_from_parameters(
        net, start, end, length_km=km, r_ohm_per_km=ohm.real, x_ohm_per_km=ohm.imag, c_nf_per_km=nanofarad[0], max_i_ka=ampere / 1e3,
        r0_ohm_per_km=zero_ohm.real, x0_ohm_per_km=zero_ohm.imag, c0_nf_per_km=nanofarad[1],
    )  # fmt: skip


def _published(name: str) -> Callable[[], Any]:
    def make() -> Any:
        from riskcheck import catalogue

        return catalogue.make(name)

    return make


SPECIMENS: dict[str, Callable[[], Any]] = {
    "ieee-european-lv": _published("ieee-european-lv"),
    "cigre-lv": _published("cigre-lv"),
    "cigre-mv": _published("cigre-mv"),
    "simbench:1-LV-rural3--0-sw": _published("simbench:1-LV-rural3--0-sw"),
    "simbench:1-LV-semiurb4--0-sw": _published("simbench:1-LV-semiurb4--0-sw"),
    "simbench:1-MV-rural--0-sw": _published("simbench:1-MV-rural--0-sw"),
    "street": street,
    "street, no magnetising": lambda: street(magnetising=False),
    "town": town,
}


def same_model(net: Any, but: str = "") -> Any:
    """`net`, changed to what limex models (see ADAPTATIONS); the adaptation named `but` is not made."""
    for name, adapt in ADAPTATIONS.items():
        if name != but:
            adapt(net)
    return net


def _ideal_source(net: Any) -> None:
    net.ext_grid["s_sc_max_mva"] = IDEAL_MVA


def _no_magnetising_path(net: Any) -> None:
    if "mag0_percent" in net.trafo:
        net.trafo["mag0_percent"] = NO_MAGNETISING_PERCENT


ADAPTATIONS: dict[str, Callable[[Any], None]] = {
    "source": _ideal_source,
    "magnetising path": _no_magnetising_path,
}


def points(net: Any, network: Network) -> list[Point]:
    """The operating points named at the head of this file."""
    caps_w = network.caps_w().astype(float)
    export_w, import_w = caps_w[: len(network.customers)], caps_w[len(network.customers) :]
    low, high = network.interface_min_pu, network.interface_max_pu
    rng = np.random.default_rng(SEED)
    mixtures = [np.where(rng.random(len(export_w)) < 0.5, export_w, -import_w) * rng.random(len(export_w)) for _ in range(2)]
    opposed = np.where(_exporters(network), export_w, -import_w)
    wanted = [
        Point("all export", export_w, high), Point("all import", -import_w, low),
        Point("mixed 1", mixtures[0], high), Point("mixed 2", mixtures[1], low), Point("opposed", opposed, (low + high) / 2),
    ]  # fmt: skip
    model = Reduced(network)
    scaled = [point._replace(power_w=point.power_w * _to_the_first_limit(model, point)) for point in wanted]
    return [Point("as given", _given_w(net, network), 1.0), *scaled]


def _exporters(network: Network) -> NDArray[np.bool_]:
    n = len(network.customers)
    return np.array([c.phase == "a" for c in network.customers]) if network.phases == 3 else np.arange(n) < n // 2


def _given_w(net: Any, network: Network) -> Floats:
    """The net's own powers by customer, export positive; what one bus and phase has together goes to its first customer."""
    place = {(network.bus_names[c.bus], c.phase): i for i, c in reversed(list(enumerate(network.customers)))}
    power_w = np.zeros(len(network.customers))
    for table, sign in GIVEN.items():
        for row in net[table][net[table].in_service].to_dict("records"):
            live = "".join(p for p in "abc" if row.get(f"p_{p}_mw")) if table.startswith("asymmetric") else "abc"
            total_mw = sum(row[f"p_{p}_mw"] for p in live) if table.startswith("asymmetric") else row["p_mw"]
            power_w[place[str(row["bus"]), live]] += sign * total_mw * row.get("scaling", 1.0) * 1e6
    return power_w


def _to_the_first_limit(model: Reduced, point: Point) -> float:
    """Share of the point's power at which the first limit is met, at most 1."""

    def holds(share: float) -> bool:
        above, below = model.margins(point.power_w * share, point.interface_pu)
        return bool(above.min() >= 0 and below.min() >= 0)

    if holds(1.0) or not holds(0.0):
        return 1.0 if holds(1.0) else SHARE_WITHOUT_ROOM
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
