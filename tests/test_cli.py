"""The command line as a stranger meets it: help, wrong arguments, broken files, exit codes; never a stack trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandapower as pp
import pytest

from gateway.cli import main
from tests.operated import village
from tests.test_node import decide, opening, place

NETWORK = "cigre-lv"


def limex(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "serve",
        "operator",
        "view",
        "envelopes",
        "certify",
        "replay",
        "import",
        "export",
        "settle",
        "whatif",
        "bench",
        "refresh",
        "csip",
    ],
)
def test_every_command_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "example:" in said
    assert f"limex {command}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["import", "log.csv", "--journal", "j.sqlite", "--area", "a b"], "'a b' is not a name"),
        (["reconfigure", "cigre-mv", "--states", "-1"], "'-1' is not a whole number"),
        (["dance"], "invalid choice: 'dance'"),
        (["demo", "--seed", "-1"], "not a whole number"),
        (["demo", "--intervals", "0"], "not a positive number"),
        (["demo", "--interval-seconds", "nan"], "not a positive number"),
        (["serve", "--interval-minutes", "7"], "invalid choice: 7"),
        (["serve", "--open-lead-minutes", "soon"], "'soon' is not a number"),
        (["serve", "--area", "a/b"], "'a/b' is not a name"),
        (["serve", "--collar-mct", "-1"], "'-1' is not a whole number"),
        (["operator", "halt"], "the following arguments are required: --reason"),
        (["operator", "suspend", "--reason", "x"], "one of the arguments --customer --all is required"),
        (["operator", "freeze", "--interval", "noon", "--reason", "x"], "'noon' is no time like 2026-04-27T14:00"),
        (["serve", "--broker", "broker.lan"], "mqtt://user:password@host:port"),
        (["demo", "--broker", "mqtt://broker.lan:port"], "is not a number"),
        (["replay", "j.sqlite", "--tape", "--json"], "--json: not allowed with argument --tape"),
        (["replay", "j.sqlite", "--tapes"], "unrecognized arguments: --tapes"),
    ],
)
def test_wrong_arguments_are_named_with_exit_code_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_times_that_do_not_fit_together_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--announce-lead-minutes", "30"]) == 2
    assert "announce lead 30 minutes is after orders are taken" in capsys.readouterr().err
    assert main(["serve", "--open-lead-minutes", "4"]) == 2
    assert "not 0 <= close < open" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "builtin networks: ieee-european-lv"), ("{]", "broken.json"), ('{"a": 1}', "broken.json")],
)
def test_a_network_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.json"
    if text is not None:
        path.write_text(text)
    assert main(["envelopes", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_envelopes_of_limex_are_certified_and_doubled_ones_are_broken_with_the_corner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "envelopes.json"
    assert main(["envelopes", NETWORK, "--out", str(path)]) == 0
    said = capsys.readouterr().out
    assert "stopped by" in said
    assert "rows: proven" in said or "rows: verified by search (docs/security.md)" in said
    assert main(["certify", NETWORK, str(path), "--effort", "quick", "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)
    assert certificate["secure"]
    document = json.loads(path.read_text())
    assert document["rows_are"] in ("proven", "verified")
    document["network_hash"] = "f" * 64
    for envelope in document["envelopes"]:
        envelope["export_w"] *= 2
        envelope["import_w"] *= 2
    path.write_text(json.dumps(document))
    assert main(["certify", NETWORK, str(path), "--effort", "quick"]) == 1
    shown = capsys.readouterr()
    assert "NOT secure" in shown.out
    assert "breaking corner" in shown.out
    assert "note: these envelopes were computed for another network (hash ffffffffffffffff)" in shown.err
    for envelope in document["envelopes"]:
        envelope["import_w"] = 2_000_000
    path.write_text(json.dumps(document))
    assert main(["certify", NETWORK, str(path), "--effort", "quick"]) == 1
    collapsed = capsys.readouterr().out
    assert "no operating point: voltage collapse" in " ".join(collapsed.split())
    assert "200.00 %" not in collapsed


def test_envelope_files_with_mistakes_have_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "e.csv"
    path.write_text("customer,export_w,import_w\nnobody,1,1\n")
    assert main(["certify", NETWORK, str(path)]) == 2
    assert "no customer 'nobody'" in capsys.readouterr().err


def test_replay_proves_prints_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "j.sqlite"
    decide(path, [*opening(), place(1)])
    assert main(["replay", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commands"] == 4
    assert main(["replay", str(path), "--tape"]) == 0
    said = capsys.readouterr()
    assert "alice alice-1: sell 10 W export" in said.out
    assert "byte for byte" not in said.out
    assert "4 commands in" in said.err
    assert "invariants hold, digest" in said.err
    assert main(["replay", str(path), "--at", "1", "--json"]) == 0
    holdings = json.loads(capsys.readouterr().out)["areas"]["lv"]["intervals"]["0"]["holdings"]
    assert holdings["alice"] == {"export_w": 5 * 10**7, "import_w": 5 * 10**7}
    assert main(["replay", str(path), "--at", "2100-01-01"]) == 0
    assert "asked 10 W @ 1.00 ct/kWh" in capsys.readouterr().out
    assert main(["replay", str(path), "--at", "noon"]) == 2
    assert "a batch number or a time like" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "none.sqlite")]) == 2
    assert "no such journal" in capsys.readouterr().err


@pytest.mark.parametrize(("to", "code", "message"), [("/dev/full", 3, "limex: cannot write: No space left on device\n"), (None, 0, "")])
def test_output_that_nobody_can_take_is_no_stack_trace(tmp_path: Path, to: str | None, code: int, message: str) -> None:
    """A full disk has a message; a reader that left, as `head` does, needs none."""
    path = tmp_path / "j.sqlite"
    decide(path, [*opening(), place(1)])
    if to is None:
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(to, os.O_WRONLY)
    command = [sys.executable, "-m", "gateway.cli", "replay", str(path), "--json"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, cwd=Path(__file__).parents[1], env=buffered
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (code, message)


def test_what_a_journal_cannot_answer_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "j.sqlite"
    decide(path, [*opening(), place(1)])
    assert main(["settle", str(path), "--customer", "nobody"]) == 2
    assert "has no customer nobody; it has" in capsys.readouterr().err
    assert main(["whatif", str(path), "--network", NETWORK]) == 2
    assert "--against network=NETWORK" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "no.csv"), "--network", NETWORK, "--journal", str(path)]) == 3
    assert "is there already" in capsys.readouterr().err
    assert main(["import", str(tmp_path), "--network", NETWORK, "--journal", str(tmp_path / "new.sqlite")]) == 2
    assert "not a file" in capsys.readouterr().err


def serving(tmp_path: Path, *more: object) -> tuple[subprocess.Popen[str], str]:
    """An exchange in a process of its own, and what it said until it was ready."""
    files = ["--journal", tmp_path / "j.sqlite", "--credentials", tmp_path / "c.json", "--operator-account", tmp_path / "op.json"]
    command = [sys.executable, "-m", "gateway.cli", "serve", *map(str, [*files, *more])]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert server.stderr is not None
    said = ""
    while "interrupt to stop" not in said:
        line = server.stderr.readline()
        assert line, said
        said += line
    return server, said


def stopped(server: subprocess.Popen[str]) -> str:
    server.send_signal(signal.SIGINT)
    assert server.stderr is not None
    rest = server.stderr.read()
    assert server.wait(timeout=30) == 0, rest
    return rest


def test_serve_takes_orders_shows_views_stops_on_interrupt_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, _ = serving(tmp_path, "--network", NETWORK)
    operator = ["--account", str(tmp_path / "op.json"), "--reason", "a storm", "--json"]
    assert main(["operator", "halt", *operator]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert [(happened["event"], happened["facts"]["reason"]) for happened in outcome["happened"]] == [("halted", "a storm")]
    assert main(["operator", "resume", *operator[:-1]]) == 0
    assert "resumed: area lv, reason a storm" in capsys.readouterr().out
    assert main(["operator", "resume", *operator[:-1]]) == 1
    assert "refused: not_halted" in capsys.readouterr().err
    assert main(["operator", "terms", "--customer", "nobody", *operator]) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "unknown_customer"
    assert main(["operator", "settings", "--collar-mct", "5000", *operator]) == 0
    capsys.readouterr()
    look_at_views(tmp_path / "c.json", capsys)
    assert "everything acknowledged is in the journal" in stopped(server)
    for path in ("c.json", "op.json"):
        assert os.stat(tmp_path / path).st_mode & 0o077 == 0
    server, said = serving(tmp_path, "--network", NETWORK)
    assert "other than asked for: collar_mct 5000" in said
    assert "everything acknowledged is in the journal" in stopped(server)
    assert main(["replay", str(tmp_path / "j.sqlite"), "--tape"]) == 0
    assert capsys.readouterr().out.count("opened with") == 1


def look_at_views(credentials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = next(iter(json.loads(credentials.read_text())["readers"]))
    next_ms = (int(time.time() * 1000) // 900_000 + 2) * 900_000
    files = ["--credentials", str(credentials)]
    assert main(["view", name, str(next_ms), "export", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["interval_ms"] == next_ms
    assert main(["view", name, str(next_ms), "export", *files]) == 0
    assert "left over for nothing" in capsys.readouterr().out
    assert main(["view", name, "900000", "export", *files]) == 1
    assert "unknown_interval" in capsys.readouterr().err
    assert main(["view", "nobody", str(next_ms), "export", *files]) == 2
    assert "no reader of nobody" in capsys.readouterr().err


def test_an_operator_without_an_exchange_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    halt = ["operator", "halt", "--reason", "a storm"]
    assert main([*halt, "--broker", "mqtt://op:secret@127.0.0.1:1", "--patience-seconds", "0.2"]) == 3
    assert "no answer within 0.2 s" in capsys.readouterr().err
    assert main(["operator", "halt", "--reason", "", "--broker", "mqtt://op:secret@127.0.0.1:1"]) == 2
    assert "reason" in capsys.readouterr().err


def test_serve_takes_a_changed_network_by_a_signal_and_no_broken_one(tmp_path: Path) -> None:
    source = tmp_path / "village.json"
    pp.to_json(village(), str(source))
    server, _ = serving(tmp_path, "--network", source)

    def said_after(asked: signal.Signals, *awaited: str) -> str:
        assert server.stderr is not None
        server.send_signal(asked)
        said = ""
        while not any(words in said for words in awaited):
            line = server.stderr.readline()
            assert line, said
            said += line
        return said

    outcomes = "network changed", "cannot be used", "halted"
    pp.to_json(village(rating_a=60.0), str(source))
    said = said_after(signal.SIGHUP, *outcomes)
    assert "network changed: line 0 carries 120 -> 60 A: " in said
    assert " W taken from 3 customer(s) in " in said
    pp.to_json(village(rating_a=0.5), str(source))
    said = said_after(signal.SIGHUP, *outcomes)
    assert "the envelopes in force are not secure on the new network: correct the file and send SIGHUP again" in said
    assert "end; what stands: network change" in said_after(signal.SIGUSR1, "no halt", "resumed")
    pp.to_json(village(rating_a=60.0), str(source))
    assert "back to the network in force" in said_after(signal.SIGHUP, *outcomes)
    source.write_text('{"a": 1}')
    assert "cannot be used, the network in force stays" in said_after(signal.SIGHUP, *outcomes)
    assert "no halt of this area" in said_after(signal.SIGUSR1, "no halt", "resumed")
    rest = stopped(server)
    assert "audits of" in rest
    assert "Traceback" not in rest
    assert limex("replay", tmp_path / "j.sqlite").returncode == 0


def test_bench_takes_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--only", "replay", "--network", "kerber-landnetz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_network_without_limits_to_reach_is_planned_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two buses, a hundred metres of thick cable, one home: no row, every envelope is its rating."""
    net = pp.create_empty_network()
    ends = [pp.create_bus(net, 0.4) for _ in range(2)]
    pp.create_ext_grid(net, ends[0])
    pp.create_line(net, *ends, 0.1, "NAYY 4x150 SE")
    pp.create_load(net, ends[1], p_mw=0.005, name="h1")
    pp.to_json(net, str(tmp_path / "strong.json"))
    assert main(["envelopes", str(tmp_path / "strong.json"), "--json"]) == 0
    (envelope,) = json.loads(capsys.readouterr().out)["envelopes"]
    assert (envelope["customer"], envelope["export_w"], envelope["import_w"]) == ("h1", 30_000, 42_000)


def test_serve_without_a_broker_that_answers_has_exit_code_3(tmp_path: Path) -> None:
    done = limex("serve", "--network", NETWORK, "--journal", tmp_path / "j.sqlite", "--broker", "mqtt://127.0.0.1:1")
    assert done.returncode == 3
    assert "nothing answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_envelopes_are_shared_out_by_a_rule_and_what_is_wrong_with_weights_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["envelopes", NETWORK, "--rule", "equal"]) == 0
    assert "Equal envelopes of" in capsys.readouterr().out
    weights = tmp_path / "weights.csv"
    weights.write_text("customer,weight\nnobody,1\n")
    assert main(["envelopes", NETWORK, "--weights", str(weights)]) == 2
    assert "nobody" in capsys.readouterr().err
