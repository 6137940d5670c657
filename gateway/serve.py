"""`limex serve`: the exchange in real time, until it is interrupted.

SIGHUP: the network is read again and put in force while the market is open; a file that cannot be used changes nothing.
SIGUSR1: the operator resumes what an audit has halted. What either came to is said on stderr, as are the auditor's findings, what
recourse has set and what the periodic job brought. Everything else that an operator orders comes over MQTT (`limex operator`).

A private broker's address and passwords go to two files that only their owner can read: the homes', and the operator's. With a
configured broker the operator brings them, and the access rules that its broker needs are in docs/wire.md.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, ParamSpec

import msgspec

from envelopes.change import ChangeError
from envelopes.job import Store
from envelopes.refresh import Plan, plan
from exchange.bounds import MarketSettings
from exchange.journal import Journal
from exchange.node import wall_clock_ms
from exchange.recovery import Batch
from gateway import accounts
from gateway.accounts import read_passwords
from gateway.arguments import OutputError, heed_sigterm
from gateway.auditor import Auditor, AuditSettings
from gateway.broker import Broker, start_broker
from gateway.clock import Schedule
from gateway.host import Host
from gateway.recourse import Desk
from gateway.refreshed import Refreshed
from gateway.show import working
from gateway.worker import Worker, WorkerEndedError, WorkerError
from replay.tape import printable
from riskcheck.levers import levers_of
from riskcheck.network import Network, load

READ_PATIENCE_S = 600.0
P = ParamSpec("P")


class ServeSettings(msgspec.Struct, frozen=True):
    """Where everything is. `source` names the network, for reading it again; `broker_url` None means a private broker."""

    source: str
    area: str
    journal: Path
    schedule: Schedule
    broker_url: str | None
    passwords: Path | None
    credentials: Path
    operator_account: Path
    market: MarketSettings
    audit: AuditSettings = AuditSettings()
    recourse: bool = False
    refreshed: Path | None = None


def serve(network: Network, settings: ServeSettings) -> None:
    """Runs until SIGINT or SIGTERM. Raises JournalError, BrokerError, LinkError, OutputError with a message for people."""
    heed_sigterm()
    customers = [customer.id for customer in network.customers]
    passwords = read_passwords(settings.passwords)
    with (  # before the plan, which may take minutes
        _claimed(settings) as files,
        start_broker(settings.broker_url, settings.area, customers, passwords=passwords) as broker,
    ):
        with working() as progress:
            ready = plan(network, settings.area, settings.market, progress)
        asyncio.run(_run(ready, settings, broker, files))
    _say("stopped; everything acknowledged is in the journal")


@contextmanager
def _claimed(settings: ServeSettings) -> Iterator[list[BinaryIO]]:
    """The files of the accounts on a private broker, and a look at whether the journal is free. Raises OutputError, JournalError."""
    with ExitStack() as held:
        paths = [settings.credentials, settings.operator_account] if settings.broker_url is None else []
        files = [held.enter_context(accounts.claimed(path)) for path in paths]
        if settings.journal.exists():
            Journal(settings.journal).close()
        yield files


async def _run(ready: Plan, settings: ServeSettings, broker: Broker, files: Sequence[BinaryIO]) -> None:
    stopped, changed, resumed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    meanings = {signal.SIGINT: stopped, signal.SIGTERM: stopped, signal.SIGHUP: changed, signal.SIGUSR1: resumed}
    for number, meaning in meanings.items():
        asyncio.get_running_loop().add_signal_handler(number, meaning.set)
    auditor, desk = Auditor(_say, settings.audit), Desk(_say) if settings.recourse else None

    def listen(_batch: Batch) -> None:
        """Nothing to do beside the gateway."""

    refreshed = None if settings.refreshed is None else Refreshed(Store(settings.refreshed), _say)
    async with Host(
        settings.journal, broker, ready, settings.schedule, wall_clock_ms, listen, auditor=auditor, desk=desk, refreshed=refreshed
    ) as host:
        if files:
            _write_accounts(settings, broker, [customer.id for customer in ready.network.customers], files)
        _say(f"area {settings.area}: {len(ready.network.customers)} customers, {ready.rows.n_rows} rows, journal {settings.journal}")
        if host.amended:
            _say(f"in force are the rules of the journal, other than asked for: {', '.join(host.amended)}")
        if host.settled.watts:
            _say(f"the journal's holdings were secure on another network: {host.settled}")
        if desk is not None:
            _say(f"recourse may set {len(levers_of(ready.network))} of the operator's devices")
        _say(f"serving on {broker.kind} {broker.host}:{broker.port}; interrupt to stop")
        waited_for = host.failed(), stopped.wait(), _each_time(changed, _change, host, settings.source), _each_time(resumed, _resume, host)
        tasks = [asyncio.create_task(one) for one in waited_for]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)  # workers of theirs end before the loop does
        for task in done:
            task.result()
    _say(str(auditor.audits))
    if desk is not None:
        _say(str(desk.tally))


async def _each_time(asked: asyncio.Event, answer: Callable[P, Awaitable[None]], *arguments: P.args, **named: P.kwargs) -> None:
    while True:
        await asked.wait()
        asked.clear()
        await answer(*arguments, **named)


async def _change(host: Host, source: str) -> None:
    """Reads the network again, in a process apart, and puts it in force."""
    worker = Worker()
    _say(f"reading {source} again")
    try:
        network = await worker.call(READ_PATIENCE_S, load, source)
        done = await host.change(network)
    except (WorkerError, WorkerEndedError) as error:
        _say(f"{source} cannot be used, the network in force stays: {error}")
    except ChangeError as error:
        _say(str(error))
    else:
        _say("the network is the same" if done.difference is None else f"network changed: {done.difference.detail}: {done.taken}")
    finally:
        await worker.stop()


async def _resume(host: Host) -> None:
    reasons = await host.resume()
    if reasons:
        _say("; ".join(f"resumed what was halted by {printable(reason)}" for reason in reasons))
        return
    standing = [printable(reason) for (area, *_), reason in host.engine.halts.items() if area in (None, host.plan.area)]
    stands = f"; what stands: {'; '.join(standing)}" if standing else ""
    _say(f"no halt of this area is the operator's to end{stands}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write_accounts(settings: ServeSettings, broker: Broker, customers: list[str], files: Sequence[BinaryIO]) -> None:
    homes, operator = files
    try:
        accounts.write_homes(homes, settings.area, broker, customers)
        accounts.write_operator(operator, settings.area, broker)
    except OSError as error:
        raise OutputError(f"cannot write {settings.credentials} or {settings.operator_account}: {error.strerror}") from error
    _say(f"credentials of {len(customers)} homes are in {settings.credentials}, the operator's in {settings.operator_account}")
