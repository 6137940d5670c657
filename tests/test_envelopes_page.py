"""docs/envelopes.md does what it says: each block of Python is run, in order, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pandapower
import pandapower.networks
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "envelopes.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_page_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pandapower.to_json(pandapower.networks.create_cigre_network_lv(), "my-network.json")
    blocks: list[tuple[str, str]] = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("```python")
    assert len(blocks[0][0].splitlines()) == 10
    known: dict[str, Any] = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, known)
        assert printed.getvalue() == shown
