"""Secrets by reference: what resolves, and what every failure says (never the secret)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailfleet.fleet.errors import FleetError, SecretError
from mailfleet.fleet.secrets import resolve

SECRET = "c2VjcmV0c2VjcmV0"


def test_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSIG", f"{SECRET}\n")
    assert resolve("env:TSIG", tmp_path) == SECRET


def test_from_a_file_relative_to_the_fleet(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    path = tmp_path / "secrets" / "tsig key"
    path.write_text(f"{SECRET}\r\n")
    path.chmod(0o600)
    assert resolve("file:secrets/tsig key", tmp_path) == SECRET
    assert resolve(f"file:{path}", Path("/")) == SECRET


def test_from_a_file_of_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tsig").write_text(SECRET)
    (tmp_path / "tsig").chmod(0o600)
    assert resolve("file:~/tsig", Path("/")) == SECRET


def test_from_a_command_in_the_fleet_directory(tmp_path: Path) -> None:
    (tmp_path / "store").write_text(f"tsig {SECRET}\n")
    assert resolve("command:grep tsig store | cut -d' ' -f2", tmp_path) == SECRET


def test_a_command_gets_no_input_and_may_complain(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert resolve(f"command:cat; echo locked >&2; echo {SECRET}", tmp_path) == SECRET
    out, err = capfd.readouterr()
    assert (out, err) == ("", "locked\n")


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (SECRET, "accepted: env:NAME, file:PATH or command:COMMAND"),
        (f"env:{SECRET}==", "not a reference (not shown)"),
        ("env:NOT_SET_HERE", "the environment variable NOT_SET_HERE is not set"),
        ("env:EMPTY_HERE", "the environment variable EMPTY_HERE is empty"),
        ("file:absent", "No such file"),
        ("file:.", "Is a directory"),
        ("file:open", "mode 0644: everybody may read it; accepted: mode 0600 or 0640. chmod 600"),
        ("file:writable", "mode 0602"),
        ("file:empty", "an empty file"),
        ("file:binary", "not UTF-8"),
        (f"command:echo {SECRET}; exit 3", "exit status 3"),
        ("command:true", "it printed nothing"),
        ("command:no-such-command-here", "exit status 127"),
        (r"command:printf '\377'", "not UTF-8"),
    ],
)
def test_what_does_not_resolve(
    ref: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    monkeypatch.setenv("EMPTY_HERE", "")
    for name, content, mode in (
        ("open", SECRET.encode(), 0o644),
        ("writable", SECRET.encode(), 0o602),
        ("empty", b"", 0o600),
        ("binary", b"\xff", 0o600),
    ):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
    with pytest.raises(SecretError) as caught:
        resolve(ref, tmp_path)
    message = str(caught.value)
    assert says in message
    assert SECRET not in message.replace(ref, "") if ref.startswith("command:") else True
    if not ref.startswith("command:"):
        assert SECRET not in message
    assert isinstance(caught.value, FleetError)
