"""The broker as a process: which one is started or used, with which rules, and that nothing of it outlives its exchange."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.broker import BrokerError, access_rules, find_mosquitto, start_broker
from tests.exchange_at_work import AREA, BROKERS, NAMES, needs_mosquitto


@pytest.mark.parametrize("kind", BROKERS)
def test_stop_ends_the_process_and_removes_its_files(kind: Any, tmp_path: Path) -> None:
    broker = start_broker(None, AREA, NAMES, tmp_path, kind)
    (directory,) = tmp_path.iterdir()
    assert directory.stat().st_mode & 0o077 == 0
    assert broker.kind == kind
    assert broker.is_running
    broker._process.kill()  # type: ignore[union-attr]
    broker._process.wait()  # type: ignore[union-attr]
    assert not broker.is_running
    broker.restart()
    assert broker.is_running
    broker.stop()
    broker.stop()
    assert list(tmp_path.iterdir()) == []
    assert not _listens(broker.port)


@pytest.mark.parametrize("kind", BROKERS)
def test_the_broker_ends_with_a_parent_that_was_killed(kind: str) -> None:
    code = (
        "import sys, time; from gateway.broker import start_broker; b = start_broker(None, 'lv', ['a'], kind=sys.argv[1]);"
        "print(b.process_id, b.port, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, kind], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child, port = map(int, parent.stdout.readline().split())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    give_up = time.monotonic() + 10
    while _listens(port):
        assert time.monotonic() < give_up, f"broker {child} outlives its parent"
        time.sleep(0.02)


def test_a_configured_url_is_used_and_nothing_is_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        broker = start_broker(f"mqtt://us%40er:pa%3Ass@127.0.0.1:{port}", AREA, NAMES)
        assert (broker.kind, broker.host, broker.port, broker.process_id) == ("url", "127.0.0.1", port, None)
        assert broker.exchange == ("us@er", "pa:ss")
        with pytest.raises(BrokerError, match="no password for customer alice"):
            broker.credentials("alice")  # the exchange's own are not for homes
        listed = start_broker(f"mqtt://x:y@127.0.0.1:{port}", AREA, NAMES, passwords={"alice": "p"})
        assert listed.credentials("alice") == ("alice", "p")
        with pytest.raises(BrokerError, match="no password for customer bob"):
            listed.credentials("bob")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://localhost:1", "mqtt://user:password@host:port"),
        ("mqtt://", "mqtt://user:password@host:port"),
        ("mqtt://localhost:many", "not a number"),
        ("mqtt://127.0.0.1:1", "nothing answers at 127.0.0.1:1"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_clearly(url: str, message: str) -> None:
    with pytest.raises(BrokerError, match=message):
        start_broker(url, AREA, NAMES)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "a:b", "~exchange", "x" * 65, "a\n"])
def test_a_name_that_could_bend_the_rules_is_no_account(name: str) -> None:
    with pytest.raises(BrokerError, match="cannot be an area or an account"):
        start_broker(None, AREA, [name])


def test_the_rules_are_written_for_an_operator_s_own_mosquitto() -> None:
    assert access_rules("lv", ["h1"]).splitlines() == [
        "user h1",
        "topic write limex/v1/lv/c/h1/req",
        "topic read limex/v1/lv/c/h1/rsp",
        "topic read limex/v1/lv/c/h1/envelope",
        "topic read limex/v1/lv/c/h1/device",
        "topic read limex/v1/lv/c/h1/limit/+",
        "topic read limex/v1/lv/c/h1/next/+",
        "topic read limex/v1/lv/c/h1/failsafe/+",
        "topic read limex/v1/lv/c/h1/csip",
        "topic read limex/v1/lv/c/h1/csip/default",
        "topic read limex/v1/lv/c/h1/drop",
        "topic read limex/v1/lv/c/h1/view/+/+",
        "topic read limex/v1/lv/md/#",
        "topic read limex/v1/lv/state",
    ]


def test_without_mosquitto_amqtt_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.broker.find_mosquitto", lambda: None)
    with pytest.raises(BrokerError, match="neither on PATH"):
        start_broker(None, AREA, NAMES, kind="mosquitto")
    with start_broker(None, AREA, NAMES) as broker:
        assert broker.kind == "amqtt"


@needs_mosquitto
def test_with_mosquitto_it_is_taken_even_if_sbin_is_not_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_mosquitto() is not None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
