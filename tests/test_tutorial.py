"""The pages that are run: each block prints and draws what the page shows, and a block that does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import build

PAGE = """Forty-two.

```python
print(6 * {factor})
```

```text
42
```

```python
import matplotlib.pyplot as plt
plt.figure().text(0, 0, "{words}")
plt.savefig("{picture}.svg")
```

![one](pictures/one.svg)
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small page that is as it should be."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(_page())
    build.rewrite("page.md")
    return path


def _page(factor: int = 7, words: str = "half", picture: str = "one") -> str:
    return PAGE.format(factor=factor, words=words, picture=picture)


@pytest.mark.parametrize("name", build.PAGES)
def test_a_page_prints_and_draws_what_it_shows(name: str) -> None:
    assert build.differences(name) == []


def test_the_ten_lines_are_ten() -> None:
    first = build.BLOCK.search((build.ROOT / "envelopes" / "README.md").read_text())
    assert first is not None and len(list(filter(None, first["code"].splitlines()))) == 10


def test_a_page_that_was_written_is_as_it_should_be_and_written_again_the_same(page: Path) -> None:
    picture = page.parent / "pictures" / "one.svg"
    before = page.read_text(), picture.read_bytes()
    assert before[0] == _page() and build.differences("page.md") == []
    build.rewrite("page.md")
    assert (page.read_text(), picture.read_bytes()) == before


@pytest.mark.parametrize(
    ("changed", "line", "problem"),
    [
        (_page(factor=8), 4, "prints something else than what stands below it"),
        (_page(words="whole"), 12, "draws one.svg with other words than the one kept"),
        (_page(picture="two"), 12, "draws two.svg, which the page does not show"),
    ],
)
def test_a_block_that_differs_is_named(page: Path, changed: str, line: int, problem: str) -> None:
    page.write_text(changed)
    found = build.differences("page.md")
    assert found and found[0].startswith(f"page.md, block in line {line}: {problem}")


def test_a_picture_that_is_not_there_is_named(page: Path) -> None:
    page.write_text(_page() + "\n![two](pictures/two.svg)\n")
    assert build.differences("page.md") == ["page.md: shows two.svg, which is not in pictures"]


def test_an_error_in_a_block_names_the_line_of_the_page(page: Path) -> None:
    page.write_text(_page().replace("print(6", "print(six"))
    with pytest.raises(NameError) as raised:
        build.differences("page.md")
    assert raised.traceback[-1].lineno == 3  # counted from 0


def test_the_command_writes_checks_and_says_what_differs(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "PAGES", ("page.md",))
    page.write_text(_page(factor=8))
    assert build.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("page.md, block in line 4: prints") and said.endswith("\n  -42\n  +48\n")
    assert build.main([]) == 0 and "\n48\n" in page.read_text()
    assert build.main(["--check"]) == 0
    assert build.main(["--chek"]) == 2
