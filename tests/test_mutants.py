"""The mutator makes the mistakes that it promises, one at a time; the report counts as killed what somebody complained about."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.mutation import results
from tests.mutation.judging import NO_END, SURVIVED
from tests.mutation.mutants import ROOT, mutants_of, tree_of
from tests.mutation.results import Verdicts, report

SOURCE = '''
"""A text."""
LEAST = 3
NAMES = {"a": 1}

def room(row, shown_w, open_w, side):
    """Another."""
    assert row >= 0, "not mutated"
    if row < LEAST and side == "buy":
        return min(shown_w, open_w)
    row.taken += f(shown_w, open_w)
    return -row.left

def check_room(row):
    assert row.left > 0 or row.taken == 1
'''


def written(folder: Path) -> Path:
    path = folder / "source.py"
    path.write_text(SOURCE)
    return path


def test_every_mistake_is_named_by_its_statement(tmp_path: Path) -> None:
    assert [mutant.key for mutant in mutants_of(written(tmp_path))] == [
        ": LEAST = 3 -> LEAST = 4",
        ": LEAST = 3 -> LEAST = 2",
        "room: if row < LEAST and side == 'buy': -> if row < LEAST or side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if row < LEAST:",
        "room: if row < LEAST and side == 'buy': -> if row <= LEAST and side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if row >= LEAST and side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if row < LEAST and side != 'buy':",
        "room: if row < LEAST and side == 'buy': -> if not (row < LEAST and side == 'buy'):",
        "room: if row < LEAST and side == 'buy': -> if False:",
        "room: return min(shown_w, open_w) -> return max(shown_w, open_w)",
        "room: row.taken += f(shown_w, open_w) -> pass",
        "room: row.taken += f(shown_w, open_w) -> row.taken += f(open_w, shown_w)",
        "room: row.taken += f(shown_w, open_w) -> row.taken -= f(shown_w, open_w)",
        "room: return -row.left -> return row.left",
    ]


def test_a_tree_has_exactly_the_mistake_of_its_index(tmp_path: Path) -> None:
    path = written(tmp_path)
    same = ast.unparse(tree_of(path, None))
    for mutant in mutants_of(path):
        other = ast.unparse(tree_of(path, mutant.index))
        assert sum(line != mistaken for line, mistaken in zip(same.splitlines(), other.splitlines(), strict=True)) == 1
        assert mutant.after in " ".join(other.split())


def test_a_verdict_is_kept_for_the_files_that_it_was_made_of(tmp_path: Path) -> None:
    first, second = mutants_of(ROOT / "exchange/ledger.py")[:2]
    Verdicts(tmp_path / "judged").keep(first, "tests 1", SURVIVED)
    known = Verdicts(tmp_path / "judged")
    assert (known.find(first, "tests 1"), known.find(first, "tests 2"), known.find(second, "tests 1")) == (SURVIVED, None, None)


def test_what_is_explained_is_not_killed_and_what_is_killed_needs_no_explanation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mutants = "exchange/ledger.py", mutants_of(ROOT / "exchange/ledger.py")[:4]
    (tmp_path / "explained.json").write_text(json.dumps([mutants[0]._asdict() | {"file": file, "path": "", "reason": "the same"}]))
    monkeypatch.setattr(results, "EXPLAINED", tmp_path / "explained.json")
    judged = dict(zip(mutants, (SURVIVED, SURVIVED, NO_END, "tests/test_ledger.py"), strict=True))
    assert report(judged.items(), {file: 100}) == 1
    assert f"| {file} | 100 | 4 | 2 | 50.0% | 0 | 1 | 1 | 1 | 1 |" in capsys.readouterr().out
    assert report([(mutants[0], "DiffersError")], {file: 100}) == 1
    assert "explained as the same, and yet killed" in capsys.readouterr().out
    assert report([(mutants[3], "DiffersError")], {file: 100}) == 0
