"""A broker to talk through, with an account for each customer and rules on who may write and read what.

Which one: the configured URL; else a private mosquitto as a child process where one is installed; else amqtt 0.12.1 as a child
process with its holes closed (`amqtt_child`). A private broker listens on a free port of the loopback interface, keeps its files
in a directory that only its user can enter, has random passwords, and never outlives this process.

The rules, on both: a customer writes its own `req`, and reads everything of its own and the public topics; its reader (an account
beside it, for whoever reads along) writes `ask` and reads answers, limits, drop copy and views; the operator writes and reads `op`; the
exchange may do everything below `limex/v1`. The client id is the account's name whatever a client says, so that a customer has one
connection at a time and nobody can take over another's. Subscribing to more is granted and delivers nothing. A configured broker
is its operator's: `access_rules` says in mosquitto's language what to give it.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from gateway import topics

Kind = Literal["mosquitto", "amqtt", "url"]
Accounts = Mapping[str, tuple[str, str]]  # account -> (user, password)
EXCHANGE = "~exchange"  # `~` is in no customer's alphabet
OPERATOR = "~operator"
READER = "~reader"  # after the customer's name
START_TIMEOUT_S = 20.0
START_ATTEMPTS = 5
STOP_TIMEOUT_S = 5.0
PR_SET_PDEATHSIG = 1
QUEUED_MESSAGES_MAX = 100_000
PACKET_BYTES_MAX = 1 << 18


class BrokerError(Exception):
    """No broker, and why."""


class Broker:
    """A running broker and the accounts on it. Leave with `stop()`, or use it in a `with` statement."""

    def __init__(self, kind: Kind, host: str, port: int, accounts: Accounts) -> None:
        self.kind = kind
        self.host = host
        self.port = port
        self._accounts = dict(accounts)
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    @property
    def exchange(self) -> tuple[str, str]:
        """User and password of the exchange's own account."""
        return self._accounts[EXCHANGE]

    @property
    def operator(self) -> tuple[str, str]:
        """User and password of the operator's account."""
        return self.credentials(OPERATOR)

    def reader(self, customer: str) -> tuple[str, str]:
        """User and password of the account that reads along with a customer."""
        return self.credentials(customer + READER)

    def credentials(self, customer: str) -> tuple[str, str]:
        """User and password of one customer."""
        found = self._accounts.get(customer)
        if found is None:
            raise BrokerError(f"no password for customer {customer}: a configured broker needs a file of them (--passwords)")
        return found

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """False once a private broker's process has ended; a configured one's is not ours to know."""
        return self._process is None or self._process.poll() is None

    def stop(self) -> None:
        """Ends a private broker and removes its files; safe to call again."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def launch(self, command: list[str], directory: Path) -> Broker:
        """Starts a private broker that keeps its files in `directory`; `stop()` ends the one and removes the other."""
        self._process = _start(command, directory, self.port)
        self._command, self._directory = command, directory
        return self

    def restart(self) -> None:
        """Kills a private broker and starts it anew, with the same port and accounts and without what it retained."""
        assert self._process is not None
        assert self._directory is not None
        self._process.kill()
        self._process.wait()
        self._process = _start(self._command, self._directory, self.port)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_broker(
    url: str | None,
    area: str,
    customers: Iterable[str],
    directory: Path | str | None = None,
    kind: Literal["mosquitto", "amqtt"] | None = None,
    passwords: Mapping[str, str] | None = None,
) -> Broker:
    """A broker that is ready to be connected to, or a BrokerError that says what failed.

    `directory` is where the private broker's own temporary directory goes; `kind` insists on one private broker;
    `passwords` are the customers' on a configured one. Call it from the main thread: on Linux a child is tied to the life of
    the thread that started it.
    """
    names = list(customers)
    for name in (area, *names):
        if not topics.NAME.match(name) or ":" in name:
            raise BrokerError(f"{name!r} cannot be an area or an account: letters, digits and ._- are allowed, at most 64")
    if url is not None:
        return _configured(url, passwords or {})
    binary = find_mosquitto() if kind != "amqtt" else None
    if kind == "mosquitto" and binary is None:
        raise BrokerError("mosquitto is neither on PATH nor in /usr/sbin or /usr/local/sbin")
    everyone = (*names, *(name + READER for name in names), OPERATOR, EXCHANGE)
    accounts = {name: (name, secrets.token_urlsafe(24)) for name in everyone}
    mistakes = []
    for _ in range(START_ATTEMPTS):  # a free port may be taken between our look and the child's
        private = Path(tempfile.mkdtemp(prefix="limex-broker-", dir=directory))  # mode 0700
        port = _free_port()
        command = _mosquitto(binary, private, port, area, accounts) if binary else _amqtt(private, port, area, accounts)
        try:
            return Broker("mosquitto" if binary else "amqtt", "127.0.0.1", port, accounts).launch(command, private)
        except BrokerError as error:
            mistakes.append(str(error))
            shutil.rmtree(private, ignore_errors=True)
    raise BrokerError(f"{'mosquitto' if binary else 'amqtt'} did not start in {START_ATTEMPTS} attempts: {mistakes[-1]}")


def find_mosquitto() -> str | None:
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


def access(area: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The topic filters that an account may write, and may read."""
    if name == EXCHANGE:
        return (f"{topics.ROOT}/#",), (f"{topics.ROOT}/#",)
    public = (f"{topics.ROOT}/{area}/md/#", topics.state(area))
    if name == OPERATOR:
        return (topics.operator_request(area),), (topics.operator_response(area), *public)
    if name.endswith(READER):
        customer = name.removesuffix(READER)
        return (topics.ask(area, customer),), (topics.told(area, customer), *_read_along(area, customer), *public)
    private = (topics.response(area, name), topics.envelope(area, name), topics.device(area, name))
    return (topics.request(area, name),), (*private, *_read_along(area, name), *public)


def _read_along(area: str, customer: str) -> tuple[str, ...]:
    devices = (*topics.plain(area, customer), topics.csip(area, customer), topics.csip_default(area, customer))
    return (*devices, topics.drop(area, customer), topics.views(area, customer))


def access_rules(area: str, names: Iterable[str]) -> str:
    """The rules as an `acl_file` of mosquitto."""
    lines = []
    for name in names:
        write, read = access(area, name)
        lines.append(f"user {name}")
        lines += [f"topic write {topic}" for topic in write]
        lines += [f"topic read {topic}" for topic in read]
    return "\n".join(lines) + "\n"


def parse_url(url: str) -> tuple[str, int, tuple[str, str]]:
    """(host, port, (user, password)) of mqtt://user:password@host:port. Raises BrokerError."""
    parts = urlsplit(url)
    try:
        port = parts.port or 1883
    except ValueError as error:
        raise BrokerError(f"the port of {parts.scheme}://... is not a number") from error
    if parts.scheme not in ("mqtt", "tcp") or not parts.hostname:
        raise BrokerError("a broker's URL has the form mqtt://user:password@host:port")
    return parts.hostname, port, (unquote(parts.username or ""), unquote(parts.password or ""))


def _configured(url: str, passwords: Mapping[str, str]) -> Broker:
    host, port, exchange = parse_url(url)
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise BrokerError(f"nothing answers at {host}:{port}: {error}") from error
    accounts = {name: (name, password) for name, password in passwords.items()}
    return Broker("url", host, port, {**accounts, EXCHANGE: exchange})


def _mosquitto(binary: str, directory: Path, port: int, area: str, accounts: Accounts) -> list[str]:
    """Writes mosquitto's files and returns its command line."""
    _write(directory / "acl", access_rules(area, accounts))
    _write(directory / "passwords", "".join(f"{user}:{_mosquitto_hash(password)}\n" for user, password in accounts.values()))
    settings = [
        f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {directory / 'passwords'}", f"acl_file {directory / 'acl'}",
        "use_username_as_clientid true", "persistence false", "set_tcp_nodelay true", "max_inflight_messages 1000",
        f"max_queued_messages {QUEUED_MESSAGES_MAX}", f"max_packet_size {PACKET_BYTES_MAX}",
        "log_dest stderr", "log_type error", "log_type warning",
    ]  # fmt: skip
    if os.geteuid() == 0:
        settings.append("user root")  # else it becomes user `mosquitto`, who cannot enter the directory
    _write(directory / "mosquitto.conf", "\n".join(settings) + "\n")
    return [binary, "-c", str(directory / "mosquitto.conf")]


def _amqtt(directory: Path, port: int, area: str, accounts: Accounts) -> list[str]:
    """Writes amqtt's file and returns its command line."""
    known = {}
    for user, password in accounts.values():
        write, read = access(area, user)
        known[user] = {"secret": hashlib.sha256(password.encode()).hexdigest(), "write": write, "read": read}
    _write(directory / "amqtt.json", msgspec.json.encode({"port": port, "accounts": known}).decode())
    return [sys.executable, "-m", "gateway.amqtt_child", str(directory / "amqtt.json")]


def _start(command: list[str], directory: Path, port: int) -> subprocess.Popen[bytes]:
    """Starts the child and waits until it accepts connections."""
    log = directory / "log"
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  our own command line
            command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  it makes two system calls and takes no lock
        )  # fmt: skip
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise BrokerError(f"{command[0]} ended with code {process.returncode}: {_tail(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
            continue
        return process
    _end(process)
    raise BrokerError(f"{command[0]} did not listen on port {port} within {START_TIMEOUT_S:.0f} s: {_tail(log)}")


def die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel ends the child with its parent; elsewhere amqtt watches its input, and mosquitto needs `stop()`."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask
            os._exit(1)

    return ask


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _mosquitto_hash(password: str) -> str:
    """mosquitto's password_file format, version 7: PBKDF2 with SHA-512. One hundred rounds: the passwords are 192 random bits."""
    salt = secrets.token_bytes(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _write(path: Path, text: str) -> None:
    """Readable by the owner only, from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-500:] or "it said nothing"
