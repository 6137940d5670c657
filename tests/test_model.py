"""The engine against the independent naive model: the same commands, the same events, the same state, one by one.

In CI 200,000 commands; longer by hand, in so many processes with seeds of their own, the result written down as JSON:
`python -m tests.test_model --commands 10000000 --workers 8 --report race.json`. What the streams reached is counted: every reject of
every command, every cause of a cancellation, every kind of event and of trade must have been met.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from random import Random

import pytest

from exchange.commands import Command
from exchange.engine import Engine
from exchange.events import Blocked, Cancelled, Event, Refused, Rejected, Traded
from exchange.rejects import Reason
from exchange.snapshot import dump, load
from tests.model import Model
from tests.model_invariant import violations
from tests.model_views import without_details
from tests.reached import unmet
from tests.streams import Stream

SEEDS = (1, 2, 3, 4)
COMMANDS = 50_000
CHECK_EVERY, COMPARE_EVERY = 25, 50
COMMANDS_PER_SEED = 250_000  # of a long run


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
        got, expected = without_details(events), without_details(self.model.apply(command))
        assert got == expected, f"command {self.commands} {command}\n" + "\n".join(difference(got, expected))
        for event in events:
            self._count(command, event)
        return events

    def _count(self, command: Command, event: Event) -> None:
        self.met[type(event).__name__] += 1
        tag = command.__struct_config__.tag
        if isinstance(event, Rejected | Refused):
            self.met[f"{tag} {event.reason}"] += 1
        elif isinstance(event, Cancelled):
            self.met["cause " + event.cause] += 1
        elif isinstance(event, Blocked):
            self.met["blocked partly" if event.secure_w else "blocked wholly"] += 1
        elif isinstance(event, Traded):
            assert sum(leg.cash_mct for leg in event.legs) + event.operator_mct == 0
            self.met["trade " + event.kind] += 1
            self.met["a block met an order twice"] += len({(leg.customer, leg.order_id) for leg in event.legs}) < len(event.legs)
            self.met[f"trade on {tag}"] += 1

    def check(self) -> None:
        """Every invariant, of the engine and of the page."""
        self.engine.check()
        assert violations(self.model) == []

    def compare_state(self) -> None:
        """Queues, holdings and cash, customer by customer."""
        engine, model = self.engine, self.model
        for area, known in model.areas.items():
            assert engine.cash(area) == model.cash(area)
            assert engine.operator_cash(area) == model.operator_cash(area) == -sum(engine.cash(area).values())
            assert engine.auctions_since_ms(area) == model.auctions_since_ms(area)
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


def difference(got: list[Event], expected: list[Event]) -> list[str]:
    """From the last event that is the same on."""
    same = next((at for at, (one, other) in enumerate(zip(got, expected, strict=False)) if one != other), min(len(got), len(expected)))
    return [*map(str, got[max(0, same - 1) : same]), "engine", *map(str, got[same:]), "model", *map(str, expected[same:])]


def run(commands: int, seed: int, check_every: int = CHECK_EVERY) -> Pair:
    random, pair = Random(seed), Pair()
    stream = Stream(pair.model, random)
    for number in range(1, commands + 1):
        pair.apply(stream.next())
        if number % check_every == 0:
            pair.check()
        if number % COMPARE_EVERY == 0:
            pair.compare_state()
        if random.random() < 0.005:
            pair.restart()
    return pair


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_and_model_agree_event_by_event(seed: int, met: Counter[str]) -> None:
    met.update(run(COMMANDS, seed).met)


def test_every_command_met_each_of_its_rejects_and_every_event_came(met: Counter[str]) -> None:
    if not met:
        pytest.skip("needs the streams of test_engine_and_model_agree_event_by_event")
    print("\n".join(table(met)))
    assert not unmet(met)


def table(met: Counter[str]) -> list[str]:
    """How often each command met each reject, in guard order, and everything else that was counted."""
    order = {reason.value: position for position, reason in enumerate(Reason)}
    rejects = [name for name in met if name.split(" ")[-1] in order]
    rejects.sort(key=lambda name: (name.split(" ")[0], order[name.split(" ")[-1]]))
    return [f"{met[name]:>9} {name}" for name in [*rejects, *sorted(met.keys() - set(rejects))]]


def count(commands: int, seed: int) -> Counter[str]:
    """One worker's part of a long run."""
    return run(commands, seed).met


def long_run(commands: int, workers: int, first_seed: int) -> Counter[str]:
    seeds = range(first_seed, first_seed + -(-commands // COMMANDS_PER_SEED))
    met: Counter[str] = Counter()
    with ProcessPoolExecutor(workers) as pool:
        for seed, part in zip(seeds, pool.map(count, repeat(min(commands, COMMANDS_PER_SEED)), seeds), strict=False):
            met.update(part)
            print(f"seed {seed}: {part['Traded']} trades, {part['Blocked']} blocked, no difference", flush=True)
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description="Races random command streams through the engine and the naive model.")
    parser.add_argument("--commands", type=int, default=200_000, help=f"rounded up to {COMMANDS_PER_SEED} for each seed beyond one")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--report", type=Path, help="where the counts are written as JSON")
    arguments = parser.parse_args()
    began = time.perf_counter()
    met = long_run(arguments.commands, arguments.workers, arguments.seed)
    seconds = time.perf_counter() - began
    print("\n".join(table(met)))
    print(f"{arguments.commands} commands agree in {seconds:.0f} s; never met: {', '.join(unmet(met)) or 'nothing'}")
    if arguments.report:
        told = {"commands": arguments.commands, "first_seed": arguments.seed, "seconds": round(seconds), "met": dict(sorted(met.items()))}
        arguments.report.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
