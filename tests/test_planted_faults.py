"""Faults planted into the source of the engine, one at a time: the recorded answers of the naive model must find each of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.planted import FAULTS, UNHARMED


@pytest.fixture(scope="module")
def complaints() -> Mapping[str, str]:
    """What was said of every fault, by a process that has not imported the exchange."""
    finished = subprocess.run([sys.executable, "-m", "tests.planted"], capture_output=True, text=True, timeout=1_200, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.parametrize("way", UNHARMED)
def test_without_a_fault_there_is_nothing_to_complain_of(way: str, complaints: Mapping[str, str]) -> None:
    assert complaints[way] == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found(fault: object, complaints: Mapping[str, str]) -> None:
    assert complaints[fault.name] != ""  # type: ignore[attr-defined]
