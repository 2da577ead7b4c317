"""`mailfleet lab send`, `inbox` and `provider`, with a stand-in for the running lab."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from lab_simulator import DOMAIN, Key, Simulator, compose

from mailfleet.cli import lab_mail, lab_provider
from mailfleet.cli.lab_mail import inbox, send
from mailfleet.cli.lab_provider import provider
from mailfleet.fleet.model import Role
from mailfleet.lab import post
from mailfleet.lab.errors import LabError
from mailfleet.lab.mail import Job, Transcript, Try
from mailfleet.lab.providers import behaviour
from mailfleet.lab.providers.behaviour import Rule

MX1 = SimpleNamespace(
    name="mx1.eu.example.net",
    role=Role.MX,
    addresses=(ip_address("198.51.100.25"), ip_address("2001:db8:1::25")),
)


class FakeLab:
    """Enough of a running lab: a directory, one host, and what was asked to run."""

    directory: Path
    is_up = True
    replies: ClassVar[list[subprocess.CompletedProcess[str]]]
    asked: ClassVar[list[tuple[tuple[str, ...], str]]]

    def __init__(self) -> None:
        self.layout = SimpleNamespace(directory=self.directory)

    def record(self) -> SimpleNamespace:
        if not self.is_up:
            raise LabError("The lab is not up.", "Run `mailfleet lab up`.")
        return SimpleNamespace(hosts=(MX1,))

    def host(self, name: str) -> SimpleNamespace:
        if not MX1.name.startswith(name):
            raise LabError(f"{name!r} is not a host of the lab.")
        return MX1

    def is_on(self, name: str) -> bool:
        return True

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return self._next(argv, **options)

    def ssh(
        self, host: str, command: str, *, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self._next([host, command], check=check, input=input)

    def _next(
        self, argv: Sequence[str], check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        self.asked.append((tuple(argv), input or ""))
        done = self.replies.pop(0)
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
        return done


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeLab]:
    class Lab(FakeLab):
        directory = tmp_path
        replies: ClassVar[list[subprocess.CompletedProcess[str]]] = []
        asked: ClassVar[list[tuple[tuple[str, ...], str]]] = []

    for module in (lab_mail, lab_provider):
        monkeypatch.setattr(module, "Lab", Lab)
    for name in ("google", "microsoft"):
        (tmp_path / "providers" / name).mkdir(parents=True)
    return Lab


@pytest.fixture
def running(lab: type[FakeLab], simulate: Callable[..., Simulator]) -> Simulator:
    """A provider whose directory is where the lab has it."""
    google = simulate("google")
    (lab.directory / "providers" / "google").rmdir()
    (lab.directory / "providers" / "google").symlink_to(google.directory)
    return google


def _run(command: Any, *arguments: str, input: str | None = None) -> Result:
    result = CliRunner().invoke(command, arguments, input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _done(stdout: str = "", returncode: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], returncode, stdout, "" if not returncode else "refused")


# -- provider


def _rules(lab: type[FakeLab], name: str = "google") -> tuple[Rule, ...]:
    return behaviour.load(lab.directory / "providers" / name).rules


def test_actions_are_written_and_shown(lab: type[FakeLab]) -> None:
    result = _run(provider, "google", "defer", "--address", "198.51.100.10", "--count", "3")
    assert result.exit_code == 0, result.output
    [rule] = _rules(lab)
    assert (rule.action, rule.count, str(rule.addresses[0])) == ("defer", 3, "198.51.100.10/32")
    assert "defer from 198.51.100.10 3 times at data: 421 4.7.28" in result.output
    assert "unusual rate" in result.output
    assert _run(provider, "google").output == result.output
    assert _rules(lab, "microsoft") == ()


def test_the_state_as_json(lab: type[FakeLab]) -> None:
    told = json.loads(_run(provider, "google", "defer", "--count", "2", "--json").output)
    assert (told["authentication"], told["rules"][0]["count"]) == ("recorded", 2)
    assert json.loads(_run(provider, "google", "show", "--json").output) == told


def test_every_action_with_its_options(lab: type[FakeLab]) -> None:
    for arguments in (
        ["reject", "--recipient", "no*@gmail.com"],
        ["throttle", "--limit", "5", "--period", "10", "--address", "198.51.100.0/24"],
        ["slow", "--delay", "2", "--address", "2001:db8:1::10"],
        ["complain", "--feedback", "fbl@example.com", "--every", "10"],
    ):
        result = _run(provider, "google", *arguments)
        assert result.exit_code == 0, result.output
    for part in (
        "reject for no*@gmail.com at rcpt: 550 5.1.1",
        "throttle to 5 every 10 s and address from 198.51.100.0/24",
        "slow by 2 s from 2001:db8:1::10",
        "complain to fbl@example.com one message of 10",
    ):
        assert part in result.output
    assert "accept everything\n" in _run(provider, "google", "accept").output
    assert _rules(lab) == ()


def test_a_host_of_the_lab_stands_for_its_addresses(lab: type[FakeLab]) -> None:
    _run(provider, "microsoft", "reject", "--address", "mx1")
    [rule] = _rules(lab, "microsoft")
    assert [str(n) for n in rule.addresses] == ["198.51.100.25/32", "2001:db8:1::25/128"]


def test_authentication_keeps_the_rules(lab: type[FakeLab]) -> None:
    _run(provider, "google", "defer")
    assert (
        "authentication is required"
        in _run(provider, "google", "authentication", "required").output
    )
    found = behaviour.load(lab.directory / "providers" / "google")
    assert (found.authentication, len(found.rules)) == ("required", 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["yahoo"], "is not one of"),
        (["google", "explode"], "No such command"),
        (["google", "throttle"], "--limit"),
        (["google", "defer", "--words", "google-block"], "defer answers with 4xx, not 550"),
        (["google", "defer", "--reply", "later"], "450 4.2.1 Try later"),
        (["google", "defer", "--address", "198.51.100.10/24"], "host bits"),
        (["google", "defer", "--address", "1.2.3"], "--address 1.2.3"),
        (["google", "defer", "--count", "0"], "--count"),
        (["google", "complain", "--feedback", "abuse"], "write an address"),
    ],
)
def test_bad_commands(lab: type[FakeLab], arguments: list[str], words: str) -> None:
    result = _run(provider, *arguments)
    assert (result.exit_code, words in result.output) == (2, True), result.output
    assert _rules(lab) == ()


def test_an_unknown_host_and_a_lab_that_is_down(lab: type[FakeLab]) -> None:
    result = _run(provider, "google", "defer", "--address", "mta9")
    assert (result.exit_code, "'mta9' is not a host" in result.output) == (1, True)
    lab.is_up = False
    result = _run(provider, "google", "defer")
    assert (result.exit_code, "mailfleet lab up" in result.output) == (1, True)
    assert _run(provider, "google", "defer", "--help").exit_code == 0


def test_a_broken_file_is_named(lab: type[FakeLab]) -> None:
    (lab.directory / "providers/google/behaviour.json").write_text("{")
    result = _run(provider, "google")
    assert (result.exit_code, "behaviour.json cannot be used" in result.output) == (1, True)


# -- inbox


def test_the_inbox(running: Simulator, key: Key) -> None:
    running.send(key.sign(compose()))
    running.send(compose(author="a@victim.example"), tls=False)
    result = _run(inbox)
    lines = result.output.splitlines()
    assert len(lines) >= 3
    assert lines[-2].split()[0] == "000001"
    assert "pass" in lines[-2]
    assert f"news@{DOMAIN}" in lines[-1]
    assert " none " in lines[-1]
    assert len(_run(inbox, "google", "--last", "1").output.splitlines()) < len(lines)
    found = json.loads(_run(inbox, "--json").output)
    assert [m["id"] for m in found] == ["000001", "000002"]
    assert found[0]["verdicts"]["dmarc"]["result"] == "pass"


def test_one_message(running: Simulator, key: Key) -> None:
    running.send(key.sign(compose()).replace(b"Some", b"Same"))
    result = _run(inbox, "--show", "1")
    assert "DKIM fail" in result.output
    assert "body hash mismatch" in result.output
    assert "Same text." in result.output
    shown = json.loads(_run(inbox, "--show", "000001", "--json").output)
    assert shown["content"].endswith("Same text.\r\n")
    result = _run(inbox, "--show", "7")
    assert (result.exit_code, "No message 7" in result.output) == (1, True)


def test_an_empty_inbox(lab: type[FakeLab]) -> None:
    assert _run(inbox).exit_code == 0
    assert json.loads(_run(inbox, "--json").output) == []


def test_refused_mail(running: Simulator) -> None:
    running.tell(Rule(action="defer"))
    running.send(compose())
    result = _run(inbox, "--refused")
    assert "421-4.7.28" in result.output
    assert json.loads(_run(inbox, "--refused", "--json").output)[0]["code"] == 421


# -- send


def _transcript(code: int, reply: str) -> str:
    attempt = Try(
        host="mx1.eu.example.net", address="198.51.100.25", step="data", code=code, reply=reply
    )
    return Transcript(
        sender="a@gmail.com", recipient="b@example.com", message_id="<1@x>", tries=(attempt,)
    ).model_dump_json()


def test_from_the_world(lab: type[FakeLab]) -> None:
    lab.replies.append(_done(_transcript(250, "2.0.0 Ok")))
    result = _run(send, "--from", "eve@outlook.com", "--to", "info@example.com")
    assert result.exit_code == 0, result.output
    assert result.output == "mx1.eu.example.net [198.51.100.25] at data: 250 2.0.0 Ok\n"
    [(argv, sent)] = lab.asked
    assert argv[1:] == ("-m", "mailfleet.lab.mail")
    job = Job.model_validate_json(sent)
    assert (job.sender, job.recipient) == ("eve@outlook.com", "info@example.com")
    assert job.helo == "outlook-com.olc.protection.outlook.com"
    assert job.sources == ("198.18.2.25", "2001:db8:0:18:2::25")


def test_who_the_world_is(lab: type[FakeLab]) -> None:
    lab.replies += [_done(_transcript(250, "Ok"))] * 2
    _run(send, "--from", "x@elsewhere.example", "--to", "info@example.com")
    _run(send, "--as", "microsoft", "--mx", "mx1.us.example.net", "--to", "info@example.com")
    jobs = [Job.model_validate_json(sent) for _, sent in lab.asked]
    assert [job.helo.split(".")[0] for job in jobs] == ["gmail-smtp-in", "outlook-com"]
    assert jobs[1].hosts == ("mx1.us.example.net",)


def test_refused_by_the_mx(lab: type[FakeLab]) -> None:
    lab.replies.append(_done(_transcript(550, "5.7.1 Blocked by SpamAssassin")))
    result = _run(send, "--to", "info@example.com", "--gtube", "--eicar")
    assert (result.exit_code, "550 5.7.1 Blocked" in result.output) == (1, True)
    message = Job.model_validate_json(lab.asked[0][1]).message
    assert b"GTUBE" in message
    assert b"eicar.com" in message


def test_as_json(lab: type[FakeLab]) -> None:
    lab.replies.append(_done(_transcript(550, "no")))
    result = _run(send, "--to", "info@example.com", "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["transcript"]["tries"][0]["code"] == 550


def test_via_a_host_and_wait_at_the_provider(running: Simulator, lab: type[FakeLab]) -> None:
    def deliver(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        running.send(str(options["input"]).replace("\n", "\r\n").encode())
        return _done()

    lab._next = staticmethod(deliver)  # type: ignore[assignment]
    arguments = ["--via", "mx1", "--from", f"news@{DOMAIN}", "--to", "bob@gmail.com"]
    result = _run(send, *arguments, "--wait", "5")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("mx1.eu.example.net took it into its queue\n")
    assert "arrived: google 000001: SPF pass, DKIM none, DMARC pass, PTR pass" in result.output
    running.tell(Rule(action="reject"))
    result = _run(send, *arguments, "--wait", "5")
    assert (result.exit_code, "was refused" in result.output) == (1, True)
    running.tell(Rule(action="defer"))
    result = _run(send, *arguments, "--wait", "0.5", "--json")
    assert result.exit_code == 0
    assert json.loads(result.output)["arrival"]["attempts"][0]["code"] == 421


def test_via_says_what_sendmail_said(lab: type[FakeLab]) -> None:
    lab.replies.append(_done(returncode=75))
    result = _run(send, "--via", "mx1", "--from", "a@example.com", "--to", "bob@gmail.com")
    assert (result.exit_code, "did not take the message: refused" in result.output) == (1, True)
    assert lab.asked[0][0][1] == "/usr/sbin/sendmail -i -f a@example.com -- bob@gmail.com"


def test_wait_for_a_maildir(lab: type[FakeLab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "POLL_SECONDS", 0.01)
    path = "/var/mail/vhosts/example.com/info/new/1.M2"
    lab.replies += [_done(_transcript(250, "Ok")), _done(returncode=1), _done(f"{path}\n")]
    result = _run(send, "--to", "info@example.com", "--wait", "5")
    assert result.output.endswith(f"arrived: mx1.eu.example.net:{path}\n")
    lab.replies += [_done(_transcript(250, "Ok")), _done(returncode=1)]
    result = _run(send, "--to", "info@example.com", "--wait", "0")
    assert (result.exit_code, "is not there after 0 s" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--to"),
        (["--to", "nobody"], "write an address"),
        (["--to", "a b@example.com"], "write an address"),
        (["--to", "a@example.com", "--via", "mx1", "--as", "google"], "drop --as"),
        (["--to", "a@example.com", "--wait", "-1"], "--wait"),
    ],
)
def test_bad_send_commands(lab: type[FakeLab], arguments: list[str], words: str) -> None:
    result = _run(send, *arguments)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_body_from_standard_input(lab: type[FakeLab]) -> None:
    lab.replies.append(_done(_transcript(250, "Ok")))
    _run(send, "--to", "info@example.com", "--body", "-", input="piped text\n")
    assert b"piped text" in Job.model_validate_json(lab.asked[0][1]).message
