"""What was judged, kept line by line, and what it comes to.

A line of the file is one verdict: the mutant, the stage that judged it with a digest of all that it read to do so (the sources; the model
and the streams, or the tests), and who complained. So a run that was ended goes on where it was, and what was changed since is judged
again. Killed is what somebody complained about. A survivor that behaves as the original does is in `explained.json` with the reason; it is
counted on its own, never as killed. An explanation of a mutant that somebody killed is wrong, and said to be.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.mutation.judging import NO_END, SURVIVED
from tests.mutation.mutants import Mutant

KILLED_MIN = 0.95
EXPLAINED = Path(__file__).with_name("explained.json")
COLUMNS = ("streams", "tests", "no end", "explained", "survived")


class Verdicts:
    """By mutant and stage; a new one is written at once."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self.known = {(mutant, stage): verdict for mutant, stage, verdict in map(json.loads, lines)}

    def find(self, mutant: Mutant, stage: str) -> str | None:
        return self.known.get((mutant.name, stage))

    def keep(self, mutant: Mutant, stage: str, verdict: str) -> None:
        self.known[mutant.name, stage] = verdict
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps([mutant.name, stage, verdict]) + "\n")


def report(found: Iterable[tuple[Mutant, str]], sizes: Mapping[str, int]) -> int:
    """Prints the survivors, then the score by file; `sizes` are how many mutants each file has. Exit code 0 where the goal is met."""
    explained, counts, refuted = _explained(), {name: Counter[str]() for name in sizes}, 0
    for mutant, verdict in sorted(found, key=lambda each: (list(sizes).index(each[0].file), each[0].index)):
        how = _how(mutant, verdict, explained)
        counts[mutant.file][how] += 1
        if how == "survived":
            print(f"survived {mutant.file}:{mutant.line} in {mutant.function}\n  - {mutant.before}\n  + {mutant.after}")
        elif verdict != SURVIVED and mutant.sentence in explained:
            refuted += 1
            print(f"explained as the same, and yet killed ({verdict}): {mutant.sentence}")
    total = sum(counts.values(), Counter[str]())
    print("| file | mutants | judged | killed | | by streams | by tests | no end | explained | survived |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, count in (*counts.items(), ("all", total)):
        size = sizes.get(name, sum(sizes.values()))
        columns = [size, count.total(), _killed(count), f"{_share(count):.1%}", *(count[how] for how in COLUMNS)]
        print(f"| {name} | {' | '.join(map(str, columns))} |")
    killed, unexplained = _killed(total), total.total() - total["explained"]
    print(f"{killed} of {total.total()} are killed; of the {unexplained} that are not explained {killed / max(1, unexplained):.1%}")
    return 0 if _share(total) >= KILLED_MIN and not total["survived"] and not refuted else 1


def _explained() -> set[str]:
    return {f"{each['file']} {each['function']}: {each['before']} -> {each['after']}" for each in json.loads(EXPLAINED.read_text())}


def _how(mutant: Mutant, verdict: str, explained: set[str]) -> str:
    if verdict == SURVIVED:
        return "explained" if mutant.sentence in explained else "survived"
    return "tests" if verdict.startswith("tests/") else "no end" if verdict == NO_END else "streams"


def _killed(count: Counter[str]) -> int:
    return count["streams"] + count["tests"] + count["no end"]


def _share(count: Counter[str]) -> float:
    return _killed(count) / max(1, count.total())
