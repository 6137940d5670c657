"""The files that the command line reads and writes: what is wrong with them is said before any work, and nobody's is written over."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exchange.journal import Journal
from gateway.accounts import claimed
from gateway.arguments import OutputError, file_out
from gateway.cli import main
from riskcheck.network import Network, load
from tests.test_node import decide, opening

NETWORK = "cigre-lv"
WHO = ["operator", "halt", "--reason", "a storm", "--account"]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a network is the beginning of the work."""
    monkeypatch.setattr("gateway.arguments.network", lambda _source: pytest.fail("worked before it looked"))


@pytest.fixture(scope="module")
def network() -> Network:
    return load(NETWORK)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    """Reading a network again and again takes the test's time."""
    monkeypatch.setattr("gateway.arguments.network", lambda _source: network)
    monkeypatch.setattr("gateway.serve.plan", lambda *_: pytest.fail("worked before it looked"))


# --- results ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    "command",
    [
        ("envelopes", NETWORK, "--out"),
        ("serve", "--journal"),
        ("import", "log.csv", "--journal"),
        ("settle", "j.sqlite", "--csv"),
        ("settle", "j.sqlite", "--parquet"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_before_any_work(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.parquet").mkdir()
    for path, why in ((tmp_path / "none" / "r.parquet", "No such file or directory"), (tmp_path / "folder.parquet", "Is a directory")):
        assert main([*command, str(path)]) == 3
        assert capsys.readouterr().err == f"limex: cannot write {path}: {why}\n"


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    "command",
    [("demo", "--out"), ("whatif", "log.csv", "--out"), ("export", "j.sqlite", "--out"), ("refresh", "areas.toml", "--out")],
)
def test_a_folder_that_cannot_be_written_into_is_named_before_any_work(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main([*command, str(tmp_path / "file" / "folder")]) == 3
    assert capsys.readouterr().err == f"limex: cannot write into {tmp_path / 'file' / 'folder'}: Not a directory\n"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_is_tried_without_a_trace(tmp_path: Path) -> None:
    """Whoever makes it meanwhile keeps it, and a link to what is not there yet stays a link."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for path in (tmp_path / "new", link):
        assert file_out(str(path)) == path
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    assert link.is_symlink()


def test_a_file_that_is_there_is_left_alone_until_there_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, fresh = tmp_path / "kept.csv", tmp_path / "fresh.csv"
    kept.write_text("yesterday's")
    for path in (kept, fresh):
        assert main(["settle", str(tmp_path / "none.sqlite"), "--csv", str(path)]) == 2
    assert kept.read_text() == "yesterday's"
    assert not fresh.exists()
    decide(tmp_path / "j.sqlite", opening())
    assert main(["settle", str(tmp_path / "j.sqlite"), "--csv", str(kept)]) == 0
    assert kept.read_text().startswith("area,interval,state,customer,")
    capsys.readouterr()


def test_parquet_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["settle", "j.sqlite", "--parquet", "table.pq"])
    assert "'table.pq' does not end in .parquet" in capsys.readouterr().err


def test_what_is_no_journal_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.txt").write_text("to whom it may concern")
    for command in ("replay", "settle", "whatif", "export"):
        for name, message in (("none.sqlite", "no such journal"), ("note.txt", "file is not a database"), (".", "no such journal")):
            assert main([command, str(tmp_path / name)]) == 2
            assert message in capsys.readouterr().err


# --- accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "No such file or directory"), ("", "truncated"), ("{]", "malformed"), ('{"host": "here"}', "missing required field `port`")],
)
def test_a_file_of_accounts_that_cannot_be_used_is_bad_input(
    text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "accounts.json"
    if text is not None:
        path.write_text(text)
    for command in (WHO, ["view", "home-1", "0", "export", "--credentials"], ["csip", "home-1", "--credentials"]):
        assert main([*command, str(path)]) == 2
        said = capsys.readouterr().err
        assert str(path) in said
        assert message in said
        assert "`limex serve` writes it beside a broker of its own; else give --broker" in said


@pytest.mark.usefixtures("loaded")
def test_passwords_that_cannot_be_used_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured = ["--broker", "mqtt://x:y@127.0.0.1:1", "--network", NETWORK]
    (tmp_path / "p.json").write_text('["secret"]')
    for passwords in (tmp_path / "none.json", tmp_path / "p.json"):
        for command in (["serve", "--journal", str(tmp_path / "j.sqlite")], ["demo", "--out", str(tmp_path / "report")]):
            assert main([*command, *configured, "--passwords", str(passwords)]) == 2
            assert "give a JSON object of customer -> password" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path / "report"), *configured]) == 2
    assert "needs --passwords with every home's" in capsys.readouterr().err


@pytest.mark.usefixtures("loaded")
def test_a_second_exchange_does_not_write_over_the_first_one_s_accounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, theirs = tmp_path / "mine.json", tmp_path / "theirs.json"
    theirs.write_text("theirs")
    second = ["serve", "--network", NETWORK, "--journal", str(tmp_path / "j.sqlite")]
    with claimed(theirs):
        for files in ([mine, theirs], [theirs, mine]):
            assert main([*second, "--credentials", str(files[0]), "--operator-account", str(files[1])]) == 3
            said = capsys.readouterr().err
            assert f"{theirs} belongs to an exchange that is running: give this one --credentials, --operator-account" in said
    assert theirs.read_text() == "theirs"
    assert not mine.exists(), "what was claimed for nothing is gone again"
    assert main([*second, "--credentials", str(mine), "--operator-account", str(mine)]) == 3, "one file is not both"


@pytest.mark.usefixtures("loaded")
def test_a_journal_that_another_exchange_writes_is_refused_before_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = Journal(tmp_path / "limex.sqlite")
    assert main(["serve", "--network", NETWORK]) == 3
    assert "limex.sqlite: another exchange is writing this journal" in capsys.readouterr().err
    theirs.close()


def test_a_killed_exchange_s_files_are_free_for_its_restart(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    code = (
        "import pathlib, sys, time; from gateway.accounts import claimed\n"
        "with claimed(pathlib.Path(sys.argv[1])) as file:\n  file.write(b'old'); file.flush(); print('claimed', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert holder.stdout is not None
    assert holder.stdout.readline() == "claimed\n"
    with pytest.raises(OutputError, match="belongs to an exchange that is running"), claimed(path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with claimed(path) as file:
        assert file.read() == b"old"
