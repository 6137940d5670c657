"""The engine against the independent naive model: the same commands, the same events, the same state, one by one.

In CI 200,000 commands; longer by hand: `python -m tests.test_model --commands 10000000 --seed 1`. What the streams reached is
counted, and every reject reason, every cause of a cancellation and every kind of event must have been met.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from random import Random

import pytest

from exchange.commands import ChangeRows, Command
from exchange.engine import Engine
from exchange.events import Blocked, Cancelled, Event, Refused, Rejected, Traded
from exchange.rejects import Reason
from exchange.snapshot import dump, load
from tests.model import Model, without_details
from tests.streams import Stream

CAUSES = {"request", "replace", "mass", "disconnect", "silence", "gate", "expired", "ioc", "fok", "self_trade", "rebased"}
CHANGE_REASONS = (
    "unknown_area", "unknown_interval", "halted", "unknown_rows", "stale_rows", "invalid_limits", "limit_out_of_bounds",
    "insecure_failsafe", "insecure_limits", "unknown_woken", "invalid_device_setting",
)  # fmt: skip
SEEDS = (1, 2, 3, 4)
COMMANDS = 50_000


class Pair:
    """Engine and model side by side; `met` counts what happened."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.model = Model()
        self.met: Counter[str] = Counter()
        self.commands = 0

    def apply(self, command: Command) -> list[Event]:
        self.commands += 1
        events = self.engine.apply(command)
        got, expected = without_details(events), self.model.apply(command)
        assert got == expected, f"command {self.commands} {command}\nengine {got}\nmodel  {expected}"
        for event in events:
            self.met[type(event).__name__] += 1
            if isinstance(event, Rejected | Refused):
                self.met[event.reason] += 1
                self.met[f"{command.__struct_config__.tag} {event.reason}"] += 1
            elif isinstance(event, Cancelled):
                self.met["cause " + event.cause] += 1
            elif isinstance(event, Blocked):
                self.met["blocked partly" if event.secure_w else "blocked wholly"] += 1
            elif isinstance(event, Traded):
                assert sum(leg.cash_mct for leg in event.legs) == 0
                if isinstance(command, ChangeRows):
                    self.met["trades of woken orders"] += 1
        return events

    def compare_state(self) -> None:
        """Queues, holdings and cash, customer by customer."""
        engine, model = self.engine, self.model
        for area, known in model.areas.items():
            assert engine.cash(area) == model.cash(area)
            assert engine.operator_cash(area) == model.operator_cash(area) == -sum(engine.cash(area).values())
            for start_ms in known.intervals:
                assert engine.holdings(area, start_ms) == model.holdings(area, start_ms)
                for direction in ("export", "import"):
                    for side in ("buy", "sell"):
                        assert engine.queue(area, start_ms, direction, side) == model.queue(area, start_ms, direction, side)

    def restart(self) -> None:
        """The engine goes on from its own snapshot."""
        snapshot = dump(self.engine)
        self.engine = load(snapshot)
        assert dump(self.engine) == snapshot


def run(commands: int, seed: int, report_every: int = 0) -> Pair:
    random, pair = Random(seed), Pair()
    stream = Stream(pair.model, random)
    for number in range(1, commands + 1):
        pair.apply(stream.next())
        pair.engine.check()
        if number % 50 == 0:
            pair.compare_state()
        if random.random() < 0.005:
            pair.restart()
        if report_every and number % report_every == 0:
            print(f"{number} commands, {pair.met['Traded']} trades, {pair.met['Blocked']} blocked")
    return pair


def unmet(met: Counter[str]) -> list[str]:
    wanted = [reason.value for reason in Reason] + [f"cause {cause}" for cause in sorted(CAUSES)]
    wanted += [kind.__name__ for kind in Event.__args__] + ["blocked partly", "blocked wholly"]
    wanted += [f"change_rows {reason}" for reason in CHANGE_REASONS] + ["trades of woken orders"]
    return [name for name in wanted if not met[name]]


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_and_model_agree_event_by_event(seed: int, met: Counter[str]) -> None:
    met.update(run(COMMANDS, seed).met)


def test_the_streams_met_every_reason_every_cause_and_every_event(met: Counter[str]) -> None:
    if not met:
        pytest.skip("needs the streams of test_engine_and_model_agree_event_by_event")
    print(dict(sorted(met.items())))
    assert not unmet(met)


def main() -> None:
    parser = argparse.ArgumentParser(description="Races random command streams through the engine and the naive model.")
    parser.add_argument("--commands", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    pair = run(arguments.commands, arguments.seed, max(1, arguments.commands // 10))
    for name, count in sorted(pair.met.items()):
        print(f"{count:>9} {name}")
    print(f"{pair.commands} commands agree in {time.perf_counter() - began:.0f} s; never met: {', '.join(unmet(pair.met)) or 'nothing'}")


if __name__ == "__main__":
    main()
