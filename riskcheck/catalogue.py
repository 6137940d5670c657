"""Networks that need no file: some of pandapower's own, and every SimBench network by its code (`simbench:CODE`).

Where the source data lack what limex needs (a placeholder rating, no room at the interface), the maker here sets it and says
why. The reader (`riskcheck/intake.py`) changes nothing.
"""

from __future__ import annotations

import difflib
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIMBENCH_PREFIX = "simbench:"
DRAW = 1

# The IEEE European LV feeder carries 421 A for each of its ten cable types, from 4.5 to 225 mm2: a placeholder. These are
# ours, in ampere, rounded from what makers state for cables of that cross-section laid direct in the ground.
IEEE_CABLE_RATING_A = {
    "2c_007": 45, "2c_0225": 90, "2c_16": 110, "35_SAC_XSC": 130, "4c_06": 150, "4c_1": 205, "4c_70": 190,
    "4c_95_SAC_XC": 235, "4c_185": 335, "4c_35": 420,
}  # fmt: skip


def _ieee_european_lv() -> Any:
    import pandapower.networks as networks

    net = networks.ieee_european_lv_asymmetric()
    net.line["max_i_ka"] = net.line.std_type.map(IEEE_CABLE_RATING_A) / 1e3
    net.asymmetric_load["name"] = [f"home{i + 1:02d}" for i in range(len(net.asymmetric_load))]
    # Its transformer (11/0.416 kV) leaves 1.5 % to the upper limit at rated voltage. One step of its off-load tap and a
    # medium voltage kept within 1 % give room on both sides, as an operator with much solar power would set it.
    net.trafo["tap_pos"] = 1
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = 0.99, 1.01
    return net


def _lv_schutterwald() -> Any:
    import pandapower.networks as networks

    net = networks.lv_schutterwald()
    # The source is a planning case, 0.965 pu at medium voltage: there the failsafe envelopes of all homes at once would take
    # low voltage to 0.86 pu. At rated voltage, and with 1.5 kW for each, they are secure.
    net.ext_grid["vm_pu"] = 1.0
    net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 1_000, 1_500
    return net


def _pandapower(function: str) -> Callable[[], Any]:
    """Some of pandapower's makers draw lines from the shared random generator: seeded here, so that a name is one network."""

    def make() -> Any:
        import pandapower.networks as networks

        state = random.getstate()
        random.seed(DRAW)
        try:
            return getattr(networks, function)()
        finally:
            random.setstate(state)

    return make


BUILTINS: dict[str, Callable[[], Any]] = {
    "ieee-european-lv": _ieee_european_lv,
    "cigre-lv": _pandapower("create_cigre_network_lv"),
    "kerber-landnetz": _pandapower("create_kerber_landnetz_kabel_1"),
    "kerber-dorfnetz": _pandapower("create_kerber_dorfnetz"),
    "kerber-vorstadt": _pandapower("create_kerber_vorstadtnetz_kabel_1"),
    "lv-schutterwald": _lv_schutterwald,
    "cigre-mv": _pandapower("create_cigre_network_mv"),
    "mv-oberrhein": _pandapower("mv_oberrhein"),
}


def make(name: str) -> Any | None:
    """The pandapower net of a builtin name or a `simbench:CODE`, None for any other name. Raises ValueError for a wrong code."""
    if name.startswith(SIMBENCH_PREFIX):
        return _simbench(name.removeprefix(SIMBENCH_PREFIX))
    maker = BUILTINS.get(name)
    return None if maker is None else maker()


def _simbench(code: str) -> Any:
    try:
        import simbench
    except ImportError as error:
        raise ValueError(f"{SIMBENCH_PREFIX}{code} needs the package simbench: pip install 'limex[simbench]'") from error
    codes = simbench.collect_all_simbench_codes()
    if code not in codes:
        near = difflib.get_close_matches(code, codes, n=3, cutoff=0.5) or ["1-LV-rural1--0-sw"]
        raise ValueError(f"SimBench has no network {code!r}; near it: {', '.join(near)}")
    net = simbench.get_simbench_net(code)
    # SimBench's data give every tap changer its side and its step in percent; its reader leaves pandapower's type empty.
    net.trafo.loc[net.trafo.tap_side.notna(), "tap_changer_type"] = "Ratio"
    # Its HV/MV transformers hold the medium voltage by an automatic tap changer, which limex does not model: a step is 1.5 %,
    # so the interface is taken as kept within 1 %, where 2 % would leave no room to SimBench's own limits (1.055 pu).
    if (net.trafo.autoTap == 1).any():
        net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = net.ext_grid.vm_pu - 0.01, net.ext_grid.vm_pu + 0.01
    return net
