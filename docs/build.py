"""The documentation's build: runs a page's blocks of Python and writes below each what it prints and draws.

    python docs/build.py            rewrites what stands below the blocks, and the pictures
    python docs/build.py --check    changes nothing; exit 1 with every block that prints or draws something else

A page is Markdown. Its blocks of Python run from top to bottom in one namespace and an empty folder with `my-network.json`, a pandapower
network (CIGRE LV), in it. What a block prints stands below it as a block of text; a picture that it saves as `name.svg` is kept as
`pictures/name.svg` beside the page, which must show it.

Pictures are the same to the byte where matplotlib is the same. A check compares the words in them (titles, figures along axes). They are
drawn as the demo's are, on white, so that they can be read on dark pages too.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from demo.pictures import BLUE, GREEN, GREY, ORANGE, STYLE, VERMILION

ROOT = Path(__file__).parent.parent
PAGES = ("docs/tutorial.md", "docs/envelopes.md", "envelopes/README.md")
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<shown>.*?)```\n)?", re.DOTALL)
WORDS = re.compile(r"<text [^>]*>(.*?)</text>")
SHOWN = re.compile(r"\(pictures/(.*?\.svg)\)")
METADATA = re.compile(r" *<metadata>.*?</metadata>\n", re.DOTALL)  # the day, and the version of matplotlib


class Ran(NamedTuple):
    """A block of a page: where its code begins, what the page shows below it, what it printed, and the pictures that it drew."""

    line: int
    code: str
    shown: str
    printed: str
    pictures: dict[str, str]


def run(page: str) -> list[Ran]:
    """Every block of a page, in order. Raises what a block raises."""
    known: dict[str, Any] = {"__name__": "__main__"}
    with _workplace() as folder:
        return [_ran(page, block, known, folder) for block in BLOCK.finditer((ROOT / page).read_text())]


def _ran(page: str, block: re.Match[str], known: dict[str, Any], folder: Path) -> Ran:
    line = block.string.count("\n", 0, block.start("code")) + 1
    code, shown = block["code"], block["shown"] or ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile("\n" * (line - 1) + code, page, "exec"), known)  # noqa: S102  a page of ours; errors name its lines
    return Ran(line, code, shown, printed.getvalue(), dict(_collected(folder)))


def _collected(folder: Path) -> Iterator[tuple[str, str]]:
    """The pictures that a block left, by name, without their metadata; and none of it stays."""
    from matplotlib import pyplot as plt

    plt.close("all")
    for path in sorted(folder.glob("*.svg")):
        yield path.name, METADATA.sub("", path.read_text())
        path.unlink()


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    """The folder that a page runs in, and the look of its pictures."""
    import matplotlib as mpl

    mpl.use("Agg")
    look = STYLE | {
        "figure.constrained_layout.h_pad": 0.12, "figure.constrained_layout.w_pad": 0.12,
        "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, VERMILION, GREY]),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name, mpl.rc_context(look), contextlib.chdir(name):
        Path("my-network.json").write_text(_network())
        yield Path(name)


@cache
def _network() -> str:
    import pandapower
    import pandapower.networks

    return str(pandapower.to_json(pandapower.networks.create_cigre_network_lv()))


def differences(page: str) -> list[str]:
    """Every block of a page that prints or draws something else than the page shows, in words."""
    found = [f"{page}, block in line {ran.line}: {problem}" for ran in run(page) for problem in _problems(page, ran)]
    missing = [name for name in sorted(_shown(page)) if not _kept(page, name).is_file()]
    return found + [f"{page}: shows {name}, which is not in pictures" for name in missing]


def _shown(page: str) -> set[str]:
    return set(SHOWN.findall((ROOT / page).read_text()))


def _problems(page: str, ran: Ran) -> Iterator[str]:
    if ran.printed != ran.shown:
        lines = difflib.unified_diff(ran.shown.splitlines(), ran.printed.splitlines(), "shown", "printed", lineterm="", n=0)
        yield "prints something else than what stands below it\n  " + "\n  ".join(lines)
    for name, picture in ran.pictures.items():
        kept = _kept(page, name)
        if name not in _shown(page):
            yield f"draws {name}, which the page does not show"
        elif kept.is_file() and WORDS.findall(kept.read_text()) != WORDS.findall(picture):
            yield f"draws {name} with other words than the one kept"


def _kept(page: str, name: str) -> Path:
    return (ROOT / page).parent / "pictures" / name


def rewrite(page: str) -> None:
    """What stands below the blocks, and the pictures, as they are now."""
    ran = run(page)
    found = iter(ran)
    path = ROOT / page
    path.write_text(BLOCK.sub(lambda _: _written(next(found)), path.read_text()))
    for name, picture in [pair for one in ran for pair in one.pictures.items()]:
        _kept(page, name).parent.mkdir(exist_ok=True)
        _kept(page, name).write_text(picture)


def _written(ran: Ran) -> str:
    below = f"\n```text\n{ran.printed}```\n" if ran.printed else ""
    return f"```python\n{ran.code}```\n{below}"


def main(arguments: list[str]) -> int:
    """Exit code 0 if all is as it should be, 1 with what is not on standard error."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    if not arguments:
        for page in PAGES:
            rewrite(page)
        return 0
    problems = [problem for page in PAGES for problem in differences(page)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
