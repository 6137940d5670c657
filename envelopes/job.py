"""The periodic job: envelopes of every area, for every interval ahead, from new forecasts, solved in parallel.

A piece of work is one area and some of its intervals. Pieces go to any `concurrent.futures.Executor`: processes by default, a Dask
cluster (`cluster` extra) for more machines. What comes back is kept at once in a directory, so a job that was interrupted goes on
where it stopped, and a result is made again only when its inputs (network, forecasts, rule) have changed.

    {out}/{area}/{interval start}.json     the outcome: envelopes, or why there are none
    {out}/{area}/{rows hash}.rows          the rows that they are secure in; forgotten with the last outcome that names them

One area's failure does not stop the others. Its outcome says why and what its customers keep: the last envelopes that were secure for this
interval, or else the failsafe. A worker that dies takes its piece with it; the piece is tried again, alone, and fails by itself only if it
kills its worker again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from envelopes.forecasts import AreaSource, Forecast, Key, with_forecasts

if TYPE_CHECKING:
    from riskcheck.network import Network

Progress = Callable[[str, float], None]
PIECE_INTERVALS = 24
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


class Piece(NamedTuple):
    """One area and some of its intervals, with the hash of the inputs of each."""

    source: AreaSource
    intervals: tuple[tuple[int, tuple[Forecast, ...], str], ...]
    length_ms: int = QUARTER_MS


class Done(NamedTuple):
    outcome: Outcome
    rows: bytes


# --- in a worker --------------------------------------------------------------------------------------------------


def solve(piece: Piece) -> list[Done]:
    """Rows, envelopes and certificate for every interval of a piece. Equal forecasts are solved once. Never raises for bad data."""
    from riskcheck.network import BadNetwork, load

    try:
        network = load(piece.source.network)
    except (BadNetwork, ValueError, OSError) as error:
        return _all_failed(piece, str(error))
    known: dict[tuple[Forecast, ...], Done] = {}
    done = []
    for interval_ms, forecasts, inputs_hash in piece.intervals:
        if forecasts not in known:
            known[forecasts] = _solve(piece.source, network, interval_ms, forecasts, inputs_hash)
        first = known[forecasts]
        outcome = msgspec.structs.replace(first.outcome, interval_ms=interval_ms, inputs_hash=inputs_hash, length_ms=piece.length_ms)
        done.append(Done(outcome, first.rows))
    return done


def _solve(source: AreaSource, network: Network, interval_ms: int, forecasts: tuple[Forecast, ...], inputs_hash: str) -> Done:
    from envelopes.allocate import InsecureFloorsError
    from envelopes.refresh import InsecureAllocationError, plan, policy_of
    from exchange.bounds import MarketSettings
    from riskcheck.linearise import Insecure

    try:
        forecast = with_forecasts(network, forecasts)
        policy = policy_of(forecast, source.rule, source.weights, source.order)  # type: ignore[arg-type]
        ready = plan(forecast, source.name, MarketSettings(), policy=policy)
    except (Insecure, InsecureFloorsError, InsecureAllocationError, ValueError, OSError) as error:
        return _failed(source.name, interval_ms, forecasts, inputs_hash, str(error))
    limits = ready.allocation.limits_w
    outcome = Outcome(
        source.name, interval_ms, inputs_hash, "new", tuple(customer.id for customer in network.customers),
        tuple(map(int, ready.allocation.export_w)), tuple(map(int, ready.allocation.import_w)), ready.rows.content_hash,
        int(limits[forecast.caps_w() > 0].min()) if (forecast.caps_w() > 0).any() else 0,
        network_hash=network.content_hash, forecasts=forecasts,
    )  # fmt: skip
    return Done(outcome, ready.rows.to_bytes())


def _failed(area: str, interval_ms: int, _forecasts: tuple[Forecast, ...], inputs_hash: str, problem: str) -> Done:
    return Done(Outcome(area, interval_ms, inputs_hash, "failsafe", problem=problem), b"")


# --- what is kept -------------------------------------------------------------------------------------------------


class Store:
    """Outcomes on disk. A file is whole or not there: written beside and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

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
            self._write(self.folder / outcome.area / f"{outcome.rows_hash}.rows", done.rows)
        else:
            outcome = self._last(outcome)
        self._write(self._path(Key(outcome.area, outcome.interval_ms)), msgspec.json.encode(outcome))
        return outcome

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


# --- the job ------------------------------------------------------------------------------------------------------


def pieces(
    areas: Iterable[AreaSource], forecasts: Mapping[Key, tuple[Forecast, ...]], starts_ms: Sequence[int], store: Store,
    length_ms: int = QUARTER_MS,
) -> list[Piece]:  # fmt: skip
    """What is to be solved: without whatever is there already, from the same inputs."""
    found = []
    for source in areas:
        identity = _identity(source)
        due = []
        for start in starts_ms:
            ranges = forecasts.get(Key(source.name, start), ())
            inputs_hash = _hash(identity, ranges, length_ms)
            kept = store.outcome(Key(source.name, start))
            if kept is None or kept.inputs_hash != inputs_hash or kept.keeps != "new":
                due.append((start, ranges, inputs_hash))
        found += [Piece(source, tuple(due[at : at + PIECE_INTERVALS]), length_ms) for at in range(0, len(due), PIECE_INTERVALS)]
    return found


def _identity(source: AreaSource) -> bytes:
    """The area as it is now: a network file counts by its content."""
    path = Path(source.network)
    content = path.read_bytes() if path.is_file() else b""
    weights = Path(source.weights).read_bytes() if Path(source.weights).is_file() else b""
    return hashlib.blake2b(msgspec.json.encode(source) + content + weights, digest_size=16).digest()


def _hash(identity: bytes, ranges: tuple[Forecast, ...], length_ms: int) -> str:
    return hashlib.blake2b(identity + msgspec.json.encode((ranges, length_ms)), digest_size=16).hexdigest()


def run(work: Sequence[Piece], executor: Callable[[], Executor], store: Store, progress: Progress | None = None) -> list[Outcome]:
    """Solves all pieces and keeps what comes back. `executor` makes a new one whenever one broke. Outcomes by area and interval."""
    kept: list[Outcome] = []
    waiting = list(work)
    for attempt in range(TRIES):
        with executor() as pool:
            lost = _round(pool, waiting, store, kept, len(work), progress)
        if not lost:
            return sorted(kept, key=lambda outcome: (outcome.area, outcome.interval_ms))
        waiting = lost
        if attempt == TRIES - 1:
            break
    for piece in waiting:
        kept += _alone(piece, executor, store)
    return sorted(kept, key=lambda outcome: (outcome.area, outcome.interval_ms))


def _round(pool: Executor, waiting: Sequence[Piece], store: Store, kept: list[Outcome], of: int, progress: Progress | None) -> list[Piece]:
    """Returns the pieces that a dead worker took with it."""
    futures: dict[Future[list[Done]], Piece] = {}
    lost: list[Piece] = []
    for piece in waiting:
        try:
            futures[pool.submit(solve, piece)] = piece
        except BrokenExecutor:
            lost.append(piece)
    try:
        for number, future in enumerate(as_completed(futures), start=1):
            piece = futures[future]
            done = _result(future, piece)
            if done is None:
                lost.append(piece)
                continue
            kept += [store.keep(one) for one in done]
            if progress is not None:
                progress(f"{piece.source.name} is done", (of - len(waiting) + number) / of)
    except BaseException:  # an interrupt: what has come back is kept, the rest is not waited for
        for future in futures:
            future.cancel()
        raise
    return lost


def _result(future: Future[list[Done]], piece: Piece) -> list[Done] | None:
    """None where a worker died; Dask says so with an exception of its own. What nobody foresaw is a failure of this piece alone."""
    try:
        return future.result()
    except (BrokenExecutor, CancelledError):
        return None
    except Exception as error:  # noqa: BLE001  one area must not stop the others
        if type(error).__name__ == "KilledWorker":
            return None
        return _all_failed(piece, f"it ended unexpectedly: {type(error).__name__}: {error}")


def _alone(piece: Piece, executor: Callable[[], Executor], store: Store) -> list[Outcome]:
    """A piece in a pool of its own: if it kills that worker too, it has failed."""
    with executor() as pool:
        done = _result(pool.submit(solve, piece), piece)
    return [store.keep(one) for one in done or _all_failed(piece, "its worker died while it was solved")]


def _all_failed(piece: Piece, problem: str) -> list[Done]:
    return [_failed(piece.source.name, *interval, problem) for interval in piece.intervals]
