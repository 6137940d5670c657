"""`limex reconfigure`: which switches to close and where the taps should stand, so that the smallest envelope is as large as possible."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.arguments import NO, OK, UsageError, whole

if TYPE_CHECKING:
    from envelopes.reconfigure import Choice, Reconfiguration


def run_reconfigure(arguments: argparse.Namespace) -> int:
    import msgspec

    from envelopes.reconfigure import reconfigure
    from gateway.show import working
    from riskcheck.certify import certify

    net = _net(arguments.network)
    switches = arguments.switch or [int(index) for index in net.switch.index]
    if not switches:
        raise UsageError(f"{arguments.network} has no switches to move")
    try:
        with working(quiet=arguments.json) as progress:
            found = reconfigure(net, switches, with_taps=arguments.taps, states_max=arguments.states, progress=progress)
    except ValueError as error:  # BadNetwork among them
        raise UsageError(str(error)) from error
    best = found.best
    if best.network is None or best.allocation is None:
        raise UsageError(f"no state of {arguments.network} can be run: {found.today.problem}")
    certificate = certify(best.network, best.allocation.export_w, best.allocation.import_w, effort="quick")
    if arguments.json:
        print(msgspec.json.encode(_document(found, certificate.secure)).decode())
    else:
        _table(net, found, certificate.secure)
    return OK if certificate.secure else NO


def _net(source: str) -> Any:
    """A pandapower net: with its switches, which a `Network` does not have any more."""
    from riskcheck import catalogue, intake

    try:
        net = catalogue.make(source)
        return net if net is not None else intake.read_json(Path(source))
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def _document(found: Reconfiguration, is_secure: bool) -> dict[str, object]:
    return {
        "best": _choice(found, found.best), "today": _choice(found, found.today), "tried": found.tried, "exact": found.is_exact,
        "secure": is_secure,
    }  # fmt: skip


def _choice(found: Reconfiguration, choice: Choice) -> dict[str, object]:
    return {
        "closed": choice.state.closed, "tap_steps": dict(zip(found.taps, choice.state.tap_steps, strict=True)),
        "smallest_w": choice.smallest_w, "total_w": choice.total_w, "problem": choice.problem,
    }  # fmt: skip


def _table(net: Any, found: Reconfiguration, is_secure: bool) -> None:
    today, best = found.today, found.best
    if today.smallest_w < 0:
        print(f"today        cannot be run: {today.problem}")
    else:
        print(f"today        smallest envelope {today.smallest_w} W, all together {today.total_w} W")
    print(f"best         smallest envelope {best.smallest_w} W, all together {best.total_w} W")
    for switch in sorted(set(today.state.closed) ^ set(best.state.closed)):
        row = net.switch.loc[switch]
        print(f"  {'close' if switch in best.state.closed else 'open '} switch {switch} ({row.et} {row.element} at bus {row.bus})")
    for name, steps in zip(found.taps, best.state.tap_steps, strict=True):
        if steps:
            print(f"  move the tap of {name} by {steps:+d}")
    if best.state == today.state:
        print("  nothing to do: no other state is better")
    how = "every radial state was tried" if found.is_exact else "a descent: the best of its neighbourhood, perhaps not of all"
    print(f"{found.tried} states tried: {how}")
    print(f"certificate  {'secure' if is_secure else 'BROKEN'} in AC power flow")


def reconfigure_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="a builtin network, simbench:CODE or the path of a pandapower JSON file")
    parser.add_argument(
        "--switch", type=int, action="append", metavar="N", help="a switch that may be moved; may be repeated (default: all)"
    )
    parser.add_argument("--no-taps", dest="taps", action="store_false", help="leave taps as they are")
    parser.add_argument(
        "--states", type=whole, default=200, metavar="N", help="try every state up to so many, else descend (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of sentences")


RECONFIGURE_TEXT = """Which switches and taps make the smallest envelope as large as possible.

Only states that feed every bus without a loop are considered. Where they are few, all are tried; beyond, one switch is exchanged for
another, or one tap moved, as long as that helps. Taps count where the network file says that an operator may move them."""
