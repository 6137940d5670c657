"""Long measurements of several networks, shared by two processes, with one progress bar for who waits.

A piece of work is a picklable function of one argument, `tell(network, steps done since, phrase)`. Results come in the order of
the works. A ValueError (a network that cannot be read or traded on) ends all that has not begun, and arrives here as a plain one: one with
findings does not survive the way from process to process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from queue import Empty
from typing import Any, TypeVar

PROCESSES = 2
Tell = Callable[[str, int, str], None]
Result = TypeVar("Result")

_news: Any = None  # in a worker process: where it tells its progress


def shared(works: Sequence[Callable[[Tell], Result]], tell: Tell) -> list[Result]:
    """All results. `tell` is called in this process."""
    context = get_context("spawn")
    news = context.Queue()
    with ProcessPoolExecutor(min(PROCESSES, len(works)), context, _employ, (news,)) as pool:
        found = [pool.submit(_work, work) for work in works]
        while not all(one.done() for one in found):
            for failed in (one for one in found if one.done() and one.exception()):
                pool.shutdown(cancel_futures=True)
                failed.result()  # raises
            try:
                tell(*news.get(timeout=0.5))
            except Empty:
                continue
        return [one.result() for one in found]


def watched(works: Sequence[Callable[[Tell], Result]], total: int, unit: str) -> list[Result]:
    """The same with a progress bar of `total` steps on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(unit, total=total)

        def tell(network: str, done: int, phrase: str) -> None:
            progress.update(task, advance=done, description=f"{network}: {phrase or unit}")

        return shared(works, tell)


def _employ(news: Any) -> None:
    global _news
    _news = news


def _work(work: Callable[[Tell], Result]) -> Result:
    try:
        return work(lambda *news: _news.put(news))
    except ValueError as error:
        raise ValueError(str(error)) from None
