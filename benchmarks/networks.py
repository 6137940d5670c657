"""The nine networks that security is measured on, and their rows, computed once and kept.

One three-phase feeder and eight balanced networks: European test feeders, four low voltage and one medium voltage network of
SimBench, and a whole low voltage grid of 2,940 buses. `campaigns` says how often holdings are driven from an allocation to
saturation there: power flows of large networks take long, so they get fewer and longer campaigns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from benchmarks import feeder
from riskcheck.network import load

if TYPE_CHECKING:
    from benchmarks.feeder import Feeder, Progress
    from riskcheck.network import Network


class Case(msgspec.Struct, frozen=True):
    """A network by the name that `riskcheck.network.load` knows; flows per search of `benchmarks.blind_adversary`."""

    name: str
    campaigns: int
    flows: int


CASES = (
    Case("lv-schutterwald", 6, 400),
    Case("ieee-european-lv", 30, 400),
    Case("kerber-vorstadt", 80, 1_000),
    Case("simbench:1-LV-rural3--0-sw", 120, 1_000),
    Case("simbench:1-LV-urban6--0-sw", 120, 1_000),
    Case("simbench:1-MV-rural--0-sw", 120, 1_000),
    Case("simbench:1-LV-semiurb4--0-sw", 150, 1_000),
    Case("cigre-lv", 240, 1_000),
    Case("simbench:1-LV-rural1--0-sw", 240, 1_000),
)  # the slowest first, so that two processes end together
OTHER = Case("", 24, 400)


def chosen(names: Sequence[str]) -> tuple[Case, ...]:
    """The cases of these names, all where none is given; a name that is no case (a file, another code) is measured like one."""
    known = {case.name: case for case in CASES}
    return tuple(known.get(name, msgspec.structs.replace(OTHER, name=name)) for name in names) or CASES


def ready(name: str, progress: Progress) -> tuple[Network, Feeder]:
    """The network with its rows and max-min envelopes. Raises ValueError (BadNetwork, Insecure) where it cannot be traded on."""
    progress("reading the network", 0.0)
    network = load(name)
    return network, feeder.load(network, progress)
