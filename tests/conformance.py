"""Runs matching scenarios, taken from other exchanges' test suites, against limex: `python -m tests.conformance FILE...`

A file is {"scenarios": [{"id", "self_trade", "steps": [{"do", "expect"}]}]}; tests/adapter.py says how an operation becomes a
limex command. Every key of `expect` is compared; a key nobody knows fails the scenario rather than being passed over.
A scenario is skipped only where limex deliberately lacks the operation; it is then named, with the reason.

Exit code: 0 all passed, 1 some failed, 2 a file could not be read. The last line reads `N passed, N failed[, N skipped]`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.adapter import Level, Market, SkippedError, Step

Json = dict[str, Any]


class UnreadableError(Exception):
    """A file that holds no scenarios; the message says why."""


class Verdict(msgspec.Struct, frozen=True):
    """`outcome` is passed, failed or skipped; `text` tells the step and the difference, or why it was skipped."""

    scenario: str
    outcome: str
    text: str = ""


def read_scenarios(path: Path) -> list[Json]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableError(f"{path}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("scenarios"), list):
        raise UnreadableError(f"{path}: no list of 'scenarios' at the top")
    for number, scenario in enumerate(content["scenarios"]):
        if not isinstance(scenario, dict) or not isinstance(scenario.get("steps"), list):
            raise UnreadableError(f"{path}: scenario {number} has no list of 'steps'")
    return content["scenarios"]


def run_scenario(scenario: Json) -> Verdict:
    name = str(scenario.get("id", "without id"))
    number, do = 0, {}
    try:
        market = Market(scenario)
        for number, step in enumerate(scenario["steps"], start=1):
            do = step["do"]
            expect = step.get("expect") or {}
            taken = market.take(do, expect)
            found = list(differences(market, taken, expect | {key: step[key] for key in _SPANS if key in step}))
            if found:
                return Verdict(name, "failed", f"step {number} ({_told(do)}): " + "; ".join(found))
    except SkippedError as skip:
        return Verdict(name, "skipped", str(skip))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Verdict(name, "failed", f"step {number} ({_told(do)}): not readable: {type(error).__name__} {error}")
    except AssertionError as error:
        return Verdict(name, "failed", f"step {number} ({_told(do)}): an invariant of limex broke: {error}")
    return Verdict(name, "passed")


def _told(do: Json) -> str:
    if not isinstance(do, dict):
        return str(do)
    return " ".join(f"{value}" if key in ("op", "id") else f"{key}={value}" for key, value in do.items() if value is not None)


def differences(market: Market, step: Step, expect: Json) -> Iterator[str]:
    """What the peer's test asserts and limex does not do, one text per key."""
    for key, wanted in expect.items():
        if key in _SPANS:
            continue
        if key not in _CHECKS:
            yield f"'{key}' is not an expectation that can be checked"
            continue
        got = _CHECKS[key](market, step, expect)
        if key == "leaves":
            got = {str(name): market.leaves(str(name)) for name in wanted}
        if got != _normal(key, wanted):
            yield f"{key} expected {json.dumps(wanted)} got {json.dumps(got)}"


def _normal(key: str, wanted: Any) -> Any:
    """The expectation with its ids as text, and what `filled` says of orders that gained nothing taken out."""
    if key == "fills":
        return [{"maker": str(fill["maker"]), "price": fill["price"], "qty": fill["qty"]} for fill in wanted]
    if key == "filled":
        return {str(name): {"qty": gain["qty"], "notional": gain["notional"]} for name, gain in wanted.items() if gain["qty"]}
    if key == "leaves":
        return {str(name): open_w for name, open_w in wanted.items()}
    if key in ("head_bid", "head_ask"):
        return None if wanted is None else str(wanted)
    return wanted


def _levels(side: str) -> Callable[[Market, Step, Json], list[Level]]:
    return lambda market, step, expect: market.levels(side)


def _prefix(side: str, key: str) -> Callable[[Market, Step, Json], list[Level]]:
    return lambda market, step, expect: market.levels(side)[: len(expect[key])]


_SPANS = ("filled_over_last_steps",)

_CHECKS: dict[str, Callable[[Market, Step, Json], Any]] = {
    "fills": lambda market, step, expect: [{"maker": fill.maker, "price": fill.price, "qty": fill.qty} for fill in step.fills],
    "filled": lambda market, step, expect: market.filled(int(expect.get("filled_over_last_steps", 1))),
    "matched": lambda market, step, expect: bool(step.fills),
    "status": lambda market, step, expect: step.status,
    "order_was": lambda market, step, expect: step.order_was,
    "cancelled_qty": lambda market, step, expect: step.cancelled_qty,
    "leaves": lambda market, step, expect: {},
    "bids": _levels("buy"),
    "asks": _levels("sell"),
    "bids_prefix": _prefix("buy", "bids_prefix"),
    "asks_prefix": _prefix("sell", "asks_prefix"),
    "head_bid": lambda market, step, expect: market.head("buy"),
    "head_ask": lambda market, step, expect: market.head("sell"),
    "n_bid_orders": lambda market, step, expect: sum(level[2] for level in market.levels("buy")),
    "n_ask_orders": lambda market, step, expect: sum(level[2] for level in market.levels("sell")),
    "bid_volume": lambda market, step, expect: sum(level[1] for level in market.levels("buy")),
    "ask_volume": lambda market, step, expect: sum(level[1] for level in market.levels("sell")),
}


def summary(verdicts: list[Verdict]) -> str:
    count = {outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in ("passed", "failed", "skipped")}
    return f"{count['passed']} passed, {count['failed']} failed" + (f", {count['skipped']} skipped" if count["skipped"] else "")


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        scenarios = [scenario for argument in arguments for scenario in read_scenarios(Path(argument))]
    except UnreadableError as unreadable:
        print(f"cannot read {unreadable}", file=sys.stderr)
        return 2
    verdicts = [run_scenario(scenario) for scenario in scenarios]
    for verdict in verdicts:
        if verdict.outcome != "passed":
            print(f"{verdict.outcome.upper()} {verdict.scenario}: {verdict.text}")
    print(summary(verdicts))
    return 1 if any(verdict.outcome == "failed" for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
