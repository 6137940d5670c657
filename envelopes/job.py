"""The periodic job: envelopes of every area, for every interval ahead, from new forecasts, solved in parallel.

A piece of work is one network with one forecast and one rule, by content, whatever areas and intervals it is for: what is alike is solved
once. Pieces go to any `concurrent.futures.Executor`: processes by default, a Dask cluster (`cluster` extra) for more machines. What comes
back is kept at once in a directory, so a job that was interrupted goes on where it stopped, and a result is made again only when its
inputs (network, forecasts, rule, version of limex) have changed. A piece fails if they change while it is solved.

    {out}/{area}/{interval start}.json     the outcome: envelopes, or why there are none
    {out}/{area}/{rows hash}.rows          the rows that they are secure in; forgotten with the last outcome that names them

Rows of several areas are one file with several names where the file system has hard links.

One area's failure does not stop the others. Its outcome says why and what its customers keep: the last envelopes that were secure for this
interval, or else the failsafe. A worker that dies takes its piece with it; the piece is tried again, alone, and fails by itself only if it
kills its worker again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from envelopes.forecasts import AreaSource, Forecast, Key, with_forecasts

if TYPE_CHECKING:
    from riskcheck.network import Network

Progress = Callable[[str, float], None]
QUARTER_MS = 900_000
TRIES = 2
ROWS_KEPT_S = 3600.0
FORMAT = 1


class Outcome(msgspec.Struct, frozen=True):
    """Envelopes of one area in one interval, in the order of `customers`.

    `keeps` says what is in force: these envelopes (`new`), those of an earlier outcome (`last`), or the `failsafe`, when `problem`
    says why there are no new ones. `inputs_hash` covers whatever the envelopes were made from. `network_hash` is that of the network as
    its file has it, and `forecasts` are the ranges that took the place of the file's.
    """

    area: str
    interval_ms: int
    inputs_hash: str
    keeps: Literal["new", "last", "failsafe"]
    customers: tuple[str, ...] = ()
    export_w: tuple[int, ...] = ()
    import_w: tuple[int, ...] = ()
    rows_hash: str = ""
    smallest_w: int = 0
    problem: str = ""
    network_hash: str = ""
    forecasts: tuple[Forecast, ...] = ()
    length_ms: int = QUARTER_MS
    format: int = FORMAT


class Due(NamedTuple):
    """An interval of an area that is to be solved, with the hash of its inputs."""

    interval_ms: int
    area: str
    inputs_hash: str


class Piece(NamedTuple):
    """A network, by the first area that has it, under a forecast; and all intervals, of this area and others, that this is the same for."""

    source: AreaSource
    forecasts: tuple[Forecast, ...]
    intervals: tuple[Due, ...]
    length_ms: int = QUARTER_MS

    def outcomes(self, solved: Done) -> Iterator[Done]:
        """What was found, for every interval that it is for."""
        for interval_ms, area, inputs_hash in self.intervals:
            own = {"area": area, "interval_ms": interval_ms, "inputs_hash": inputs_hash, "length_ms": self.length_ms}
            yield Done(msgspec.structs.replace(solved.outcome, **own), solved.rows)


class Done(NamedTuple):
    outcome: Outcome
    rows: bytes


# --- in a worker --------------------------------------------------------------------------------------------------


def solve(piece: Piece) -> Done:
    """Rows, envelopes and certificate of a piece. Never raises for bad data."""
    from envelopes.allocate import InsecureFloorsError
    from envelopes.refresh import InsecureAllocationError
    from riskcheck.linearise import Insecure

    try:
        network = _network(piece.source.network, _stamp(Path(piece.source.network)))
        done = _solve(piece, network)
        return done if _is_current(piece) else _failed("its files, or limex, are not those that the job began with")
    except (Insecure, InsecureFloorsError, InsecureAllocationError, ValueError, OSError) as error:
        return _failed(str(error))


@lru_cache(maxsize=1)
def _network(name: str, _changed: tuple[int, int]) -> Network:
    """Pieces of one network come one after the other, and reading it may take longer than solving it."""
    from riskcheck.network import load

    return load(name)


def _stamp(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return 0, 0
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _is_current(piece: Piece) -> bool:
    """Whether the files are still those that the piece was made from: what is kept under their hash is also other areas'."""
    return _hash(_identity(piece.source), piece.forecasts, piece.length_ms) == piece.intervals[0].inputs_hash


def _solve(piece: Piece, network: Network) -> Done:
    from envelopes.refresh import plan, policy_of
    from exchange.bounds import MarketSettings

    source, forecast = piece.source, with_forecasts(network, piece.forecasts)
    policy = policy_of(forecast, source.rule, source.weights, source.order)  # type: ignore[arg-type]
    ready = plan(forecast, source.name, MarketSettings(), policy=policy)
    limits, has = ready.allocation.limits_w, forecast.caps_w() > 0
    outcome = Outcome(
        source.name, 0, "", "new", tuple(customer.id for customer in network.customers),
        tuple(map(int, ready.allocation.export_w)), tuple(map(int, ready.allocation.import_w)), ready.rows.content_hash,
        int(limits[has].min()) if has.any() else 0, network_hash=network.content_hash, forecasts=piece.forecasts,
    )  # fmt: skip
    return Done(outcome, ready.rows.to_bytes())


def _failed(problem: str) -> Done:
    return Done(Outcome("", 0, "", "failsafe", problem=problem), b"")


# --- what is kept -------------------------------------------------------------------------------------------------


class Store:
    """Outcomes on disk. A file is whole or not there: written beside and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._rows_at: dict[str, Path] = {}  # where rows were last written, by their hash

    def outcome(self, key: Key) -> Outcome | None:
        """None where there is none, or one that this version cannot read (it is made again)."""
        try:
            kept = msgspec.json.decode(self._path(key).read_bytes(), type=Outcome)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return kept if kept.format == FORMAT else None

    def rows(self, area: str, rows_hash: str) -> bytes:
        return (self.folder / area / f"{rows_hash}.rows").read_bytes()

    def keep(self, done: Done) -> Outcome:
        """Stores an outcome; a failed one keeps the last envelopes of its interval, where there are any. Returns what is in force."""
        outcome = done.outcome
        if outcome.keeps == "new":
            self._keep_rows(outcome, done.rows)
        else:
            outcome = self._last(outcome)
        self._write(self._path(Key(outcome.area, outcome.interval_ms)), msgspec.json.encode(outcome))
        return outcome

    def _keep_rows(self, outcome: Outcome, rows: bytes) -> None:
        path = self.folder / outcome.area / f"{outcome.rows_hash}.rows"
        if not _is_linked(path, self._rows_at.get(outcome.rows_hash)):
            self._write(path, rows)
            self._rows_at[outcome.rows_hash] = path

    def _last(self, failed: Outcome) -> Outcome:
        before = self.outcome(Key(failed.area, failed.interval_ms))
        if before is None or not before.rows_hash:
            return failed
        return msgspec.structs.replace(before, inputs_hash=failed.inputs_hash, keeps="last", problem=failed.problem)

    def intervals(self, area: str) -> list[int]:
        """Starts of the intervals that have an outcome."""
        return sorted(int(path.stem) for path in (self.folder / area).glob("*.json") if path.stem.isdigit())

    def changed_ns(self, key: Key) -> int:
        """When the outcome was written, on the file system's clock; 0 where there is none."""
        try:
            return self._path(key).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def forget(self, area: str, before_ms: int) -> None:
        """Outcomes of intervals that began before, and rows that no outcome has named for a while: somebody may be about to read them."""
        for start_ms in self.intervals(area):
            if start_ms < before_ms:
                self._path(Key(area, start_ms)).unlink(missing_ok=True)
        outcomes = (self.outcome(Key(area, start_ms)) for start_ms in self.intervals(area))
        named = {outcome.rows_hash for outcome in outcomes if outcome is not None}
        for path in (self.folder / area).glob("*.rows"):
            if path.stem not in named and time.time() - path.stat().st_mtime > ROWS_KEPT_S:
                path.unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        return self.folder / key.area / f"{key.interval_ms}.json"

    def _write(self, path: Path, body: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(path.suffix + ".part")
        beside.write_bytes(body)
        beside.replace(path)


def _is_linked(path: Path, before: Path | None) -> bool:
    """Another name for what stands at `before`, which counts as new again (see `Store.forget`); not on a file system without links."""
    if before is None:
        return False
    try:
        path.parent.mkdir(exist_ok=True)
        if not (path.exists() and path.samefile(before)):
            beside = path.with_suffix(".part")
            beside.unlink(missing_ok=True)
            os.link(before, beside)
            beside.replace(path)
        os.utime(path)
    except OSError:
        return False
    return True


# --- the job ------------------------------------------------------------------------------------------------------


def pieces(
    areas: Iterable[AreaSource], forecasts: Mapping[Key, tuple[Forecast, ...]], starts_ms: Sequence[int], store: Store,
    length_ms: int = QUARTER_MS,
) -> list[Piece]:  # fmt: skip
    """What is to be solved: without whatever is there already, from the same inputs."""
    found: dict[str, Piece] = {}
    due: dict[str, list[Due]] = {}
    for source in areas:
        identity = _identity(source)
        for start in starts_ms:
            ranges = forecasts.get(Key(source.name, start), ())
            inputs_hash = _hash(identity, ranges, length_ms)
            kept = store.outcome(Key(source.name, start))
            if kept is None or kept.inputs_hash != inputs_hash or kept.keeps != "new":
                found.setdefault(inputs_hash, Piece(source, ranges, (), length_ms))
                due.setdefault(inputs_hash, []).append(Due(start, source.name, inputs_hash))
    return [piece._replace(intervals=tuple(due[inputs_hash])) for inputs_hash, piece in found.items()]


def _identity(source: AreaSource) -> bytes:
    """The area as it is now, but for its name: files count by their content, the program by its version."""
    network, weights = _content(source.network), _content(source.weights)
    told = (network, weights, source.rule, source.order, version("limex"))
    return hashlib.blake2b(msgspec.msgpack.encode(told), digest_size=16).digest()


def _content(name: str) -> tuple[str, bytes]:
    """A file's content, or a name of something else."""
    path = Path(name)
    return ("", path.read_bytes()) if path.is_file() else (name, b"")


def _hash(identity: bytes, ranges: tuple[Forecast, ...], length_ms: int) -> str:
    return hashlib.blake2b(identity + msgspec.json.encode((ranges, length_ms)), digest_size=16).hexdigest()


def run(work: Sequence[Piece], executor: Callable[[], Executor], store: Store, progress: Progress | None = None) -> list[Outcome]:
    """Solves all pieces and keeps what comes back. `executor` makes a new one whenever one broke. Outcomes by area and interval."""
    kept: list[Outcome] = []
    waiting = list(work)
    for _ in range(TRIES):
        if waiting:
            with executor() as pool:
                waiting = _round(pool, waiting, store, kept, len(work), progress)
    for piece in waiting:
        kept += _kept(_alone(piece, executor), piece, store)
    return sorted(kept, key=lambda outcome: (outcome.area, outcome.interval_ms))


def _round(pool: Executor, waiting: Sequence[Piece], store: Store, kept: list[Outcome], of: int, progress: Progress | None) -> list[Piece]:
    """Returns the pieces that a dead worker took with it."""
    futures: dict[Future[Done], Piece] = {}
    lost: list[Piece] = []
    for piece in waiting:
        try:
            futures[pool.submit(solve, piece)] = piece
        except BrokenExecutor:
            lost.append(piece)
    try:
        for number, future in enumerate(as_completed(futures), start=1):
            piece = futures.pop(future)  # its rows may be large, and the next ones come
            done = _result(future)
            if done is None:
                lost.append(piece)
                continue
            kept += _kept(done, piece, store)
            if progress is not None:
                progress(f"{piece.source.name} is done", (of - len(waiting) + number) / of)
    except BaseException:  # an interrupt: what has come back is kept, the rest is not waited for
        for future in futures:
            future.cancel()
        raise
    return lost


def _result(future: Future[Done]) -> Done | None:
    """None where a worker died; Dask says so with an exception of its own. What nobody foresaw is a failure of this piece alone."""
    try:
        return future.result()
    except (BrokenExecutor, CancelledError):
        return None
    except Exception as error:  # noqa: BLE001  one area must not stop the others
        if type(error).__name__ == "KilledWorker":
            return None
        return _failed(f"it ended unexpectedly: {type(error).__name__}: {error}")


def _alone(piece: Piece, executor: Callable[[], Executor]) -> Done:
    """A piece in a pool of its own: if it kills that worker too, it has failed."""
    with executor() as pool:
        return _result(pool.submit(solve, piece)) or _failed("its worker died while it was solved")


def _kept(done: Done, piece: Piece, store: Store) -> list[Outcome]:
    return [store.keep(one) for one in piece.outcomes(done)]
