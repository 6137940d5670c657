"""`limex serve`: the exchange in real time, until it is interrupted.

A private broker's address and passwords go to a file that only its owner can read, for the homes. With a configured broker
the operator brings both, and the access rules that its broker needs are in docs/wire.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from envelopes.refresh import Plan, plan
from exchange.bounds import MarketSettings
from exchange.journal import JournalError
from exchange.node import wall_clock_ms
from exchange.recovery import Batch
from gateway.broker import Broker, read_passwords, start_broker
from gateway.clock import Schedule
from gateway.host import Host
from gateway.show import working
from riskcheck.network import Network


class ServeSettings(msgspec.Struct, frozen=True):
    """Where everything is. `broker_url` None means a private broker."""

    area: str
    journal: Path
    schedule: Schedule
    broker_url: str | None
    passwords: Path | None
    credentials: Path


def serve(network: Network, settings: ServeSettings) -> None:
    """Runs until SIGINT or SIGTERM. Raises JournalError, BrokerError, LinkError with a message for people."""
    customers = [customer.id for customer in network.customers]
    passwords = read_passwords(settings.passwords)
    with working() as progress:
        ready = plan(network, settings.area, MarketSettings(interval_ms=settings.schedule.interval_ms), progress)
    with start_broker(settings.broker_url, settings.area, customers, passwords=passwords) as broker:
        asyncio.run(_run(ready, settings, broker))
    _say("stopped; everything acknowledged is in the journal")


async def _run(ready: Plan, settings: ServeSettings, broker: Broker) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    def listen(_batch: Batch) -> None:
        """Nothing to do beside the gateway."""

    async with Host(settings.journal, broker, ready, settings.schedule, wall_clock_ms, listen) as host:
        if settings.broker_url is None:  # only now: the journal is ours, so no other exchange's homes are using this file
            _write_credentials(settings.credentials, settings.area, broker, [customer.id for customer in ready.network.customers])
        _say(f"area {settings.area}: {len(ready.network.customers)} customers, {ready.rows.n_rows} rows, journal {settings.journal}")
        _say(f"serving on {broker.kind} {broker.host}:{broker.port}; interrupt to stop")
        watch = asyncio.create_task(host.failed())
        stop = asyncio.create_task(stopped.wait())
        done, pending = await asyncio.wait((watch, stop), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*pending)
        for task in done:
            task.result()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write_credentials(path: Path, area: str, broker: Broker, customers: list[str]) -> None:
    homes = {name: broker.credentials(name)[1] for name in customers}
    document = {"host": broker.host, "port": broker.port, "area": area, "passwords": homes}
    try:
        path.touch(mode=0o600)
        os.chmod(path, 0o600)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error.strerror}") from error
    _say(f"credentials of {len(customers)} homes are in {path}")
