"""`mailfleet check`, `hosts`, `schema` and `init`, and what every command does with a bad fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from ipaddress import IPv4Address
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner, Result

from mailfleet.cli import common
from mailfleet.cli.main import COMMANDS, main
from mailfleet.fleet.load import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAILFLEET_FLEET", "MAILFLEET_LAB", "MAILFLEET_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: False)
    load.cache_clear()


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    directory = tmp_path / "fleet"
    assert run("init", str(directory)).exit_code == 0
    return directory


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def edit(path: Path, old: str, new: str) -> int:
    """Replace text that occurs once; returns its line."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def test_check_of_the_example_warns_outside_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("check", "--fleet", str(ROOT))
    assert result.exit_code == 0
    assert result.output.count("warning:") == 4
    assert result.output.endswith(
        "example: 4 hosts in 2 regions, 3 domains: 0 errors, 4 warnings\n"
    )
    monkeypatch.setenv("MAILFLEET_LAB", "1")
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)
    result = run("check", "--fleet", str(ROOT))
    assert result.output == "example: 4 hosts in 2 regions, 3 domains: 0 errors, 0 warnings\n"


def test_check_shows_all_errors_and_exits_2(skeleton: Path) -> None:
    line = edit(skeleton / "fleet.yml", "target: 20000", "target: many")
    edit(skeleton / "recipients/example.com", "info", "@example.com")
    result = run("check", "--fleet", str(skeleton))
    assert result.exit_code == 2
    errors = [text for text in result.output.splitlines() if "error:" in text]
    places = [text.split(" ")[0] for text in errors]
    assert places == [f"fleet.yml:{line}:", "recipients/example.com:4:"]
    assert result.output.endswith(f"{skeleton}: 2 errors, 2 warnings\n")


def test_check_in_json(skeleton: Path) -> None:
    line = edit(skeleton / "fleet.yml", "target: 20000", "target: many")
    path = skeleton / "inventories/eu_central.py"
    path.write_text("print('noise')\n" + path.read_text())
    result = run("check", "--fleet", str(skeleton), "--json")
    assert result.exit_code == 2
    data = json.loads(result.stdout)
    assert (data["errors"], data["warnings"]) == (1, 3)
    assert data["problems"][0] == {
        "severity": "error",
        "file": "fleet.yml",
        "line": line,
        "subject": "pool transactional",
        "field": "target",
        "found": '"many"',
        "accepted": "a whole number, at least 1",
        "hint": "",
    }


def test_check_on_a_terminal_is_a_table(skeleton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    result = run("check", "--fleet", str(skeleton))
    assert result.exit_code == 0
    header = result.output.splitlines()[1]
    assert [name in header for name in ("where", "who", "field", "found", "accepted")] == [True] * 5
    assert "inventories/eu_central.py:" in result.output


def test_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("hosts", "--fleet", str(ROOT))
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["host", "role", "region", "IPv4", "IPv6", "Debian", "pool"]
    assert len(lines) == 5
    monkeypatch.chdir(ROOT)
    names = [line.split()[0] for line in run("hosts", "us_east").output.splitlines()[1:]]
    assert names == ["mta1.us.example.net", "mx1.us.example.net"]


def test_hosts_in_json() -> None:
    result = run("hosts", "eu_central", "--json", "--fleet", str(ROOT))
    data = json.loads(result.stdout)
    assert [host["name"] for host in data] == ["mta1.eu.example.net", "mx1.eu.example.net"]
    assert data[0]["ipv4"] == "198.51.100.10"
    assert data[0]["role"] == "sender"


def test_hosts_of_an_unknown_region() -> None:
    result = run("hosts", "eu_centrl", "--fleet", str(ROOT))
    assert result.exit_code == 2
    assert "known are eu_central, us_east" in result.stderr
    assert "Did you mean eu_central?" in result.stderr


def test_every_command_shows_the_errors_of_a_bad_fleet(skeleton: Path) -> None:
    line = edit(skeleton / "fleet.yml", "target: 20000", "target: many")
    result = run("hosts", "--fleet", str(skeleton), "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["exit_code"] == 2
    assert [problem["line"] for problem in document["problems"]] == [line]
    assert result.stderr.startswith(f"fleet.yml:{line}: error: pool transactional target:")
    assert "warning" not in result.stderr


def test_no_fleet_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("check", "hosts"):
        result = run(command)
        assert result.exit_code == 2
        assert "mailfleet init DIR" in result.output


def test_the_fleet_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILFLEET_FLEET", str(ROOT))
    assert run("hosts").exit_code == 0
    assert os.environ["MAILFLEET_FLEET"] == str(ROOT)


def test_schema_is_json_schema() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert run("schema", "--json").output == result.output
    jsonschema.Draft202012Validator.check_schema(json.loads(result.output))


def test_init_then_check_has_warnings_only(skeleton: Path) -> None:
    written = sorted(str(p.relative_to(skeleton)) for p in skeleton.rglob("*") if p.is_file())
    assert written == [
        ".gitignore",
        "fleet.yml",
        "inventories/eu_central.py",
        "inventories/group_data/all.py",
        "recipients/example.com",
    ]
    result = run("check", "--fleet", str(skeleton))
    assert result.exit_code == 0
    problems = json.loads(run("check", "--fleet", str(skeleton), "--json").stdout)["problems"]
    assert {problem["severity"] for problem in problems} == {"warning"}
    assert all("only inside the lab" in problem["found"] for problem in problems)


def test_init_leaves_what_is_there_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    result = run("init", str(tmp_path))
    assert result.exit_code == 2
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    result = run("init", str(tmp_path / "mine"))
    assert result.exit_code == 2
    assert "is a file" in result.stderr
    assert run("init", "/proc/nothing/here").exit_code == 2


def test_init_fills_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert run("init", str(tmp_path / "a")).exit_code == 0
    assert run("init", str(tmp_path / "b" / "c")).exit_code == 0
    assert (tmp_path / "b" / "c" / "fleet.yml").exists()


def boom(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ValueError("odd\nvalue"), 1, "Error: unexpected ValueError: odd value\n"),
        (common.Failure("no answer", common.UNREACHABLE), 3, "Error: no answer\n"),
        (common.Failure("refused"), 1, "Error: refused\n"),
        (click.UsageError("what?"), 2, "Error: what?\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 1, "stopped, nothing more was done\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_how_commands_end(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(main), "get_command", lambda *_: boom(error))
    result = run("check")
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("hosts", "nowhere", "--fleet", str(ROOT), "--json"), 2, 'unknown region "nowhere"'),
        (("hosts", "--nope", "--json"), 2, "No such option"),
        (("dns", "show", "nobody.test", "--fleet", str(ROOT), "--json"), 2, "is no domain"),
        (("deploy", "--fleet", str(ROOT), "--json"), 2, "exists only inside the lab"),
        (("up", "--dry", "--fleet", str(ROOT), "--json"), 2, "exists only inside the lab"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_errors_are_json_where_json_was_asked_for(
    words: tuple[str, ...], code: int, says: str
) -> None:
    result = run(*words)
    document = json.loads(result.stdout)
    assert set(document) == {"error", "exit_code"}
    assert document["exit_code"] == result.exit_code == code
    assert says in document["error"]
    assert says in result.stderr


def test_a_document_that_is_out_stays_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @common.json_option
    def command(as_json: bool) -> None:
        common.emit({"result": 1}, as_json)
        raise common.Failure("late")

    monkeypatch.setattr(type(main), "get_command", lambda *_: command)
    result = run("check", "--json")
    assert json.loads(result.stdout) == {"result": 1}
    assert result.stderr == "Error: late\n"
    assert result.exit_code == 1


def mailfleet(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, with standard output somewhere else."""
    command = f'"$0" -m mailfleet "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize("words", [("hosts",), ("check", "--json"), ("hosts", "--nope", "--json")])
def test_a_full_disk_under_standard_output(words: tuple[str, ...]) -> None:
    done = mailfleet(">/dev/full", *words)
    last = done.stderr.splitlines()[-1]
    assert last == "Error: cannot write to standard output: No space left on device"
    assert done.returncode == 1


def test_no_standard_output() -> None:
    done = mailfleet(">&-", "hosts")
    assert done.stderr == "Error: standard output is closed; nothing was done.\n"
    assert done.returncode == 1


def test_commands_that_change_things_show_warnings(skeleton: Path) -> None:
    path = skeleton / "inventories/eu_central.py"
    path.write_text(path.read_text() + '\nSELECTORS = ["s1"]\n')
    for words in (
        ("up", "--dry"),
        ("deploy",),
        ("dns", "plan"),
        ("dns", "apply"),
        ("warmup", "run"),
    ):
        load.cache_clear()
        result = run(*words, "--fleet", str(skeleton))
        told = [line for line in result.stderr.splitlines() if "warning: " in line]
        assert len(told) == 1
        assert "SELECTORS" in told[0]
    load.cache_clear()
    assert run("hosts", "--fleet", str(skeleton)).stderr == ""


def test_an_interrupt_while_importing(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "mailfleet", "hosts"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_console_script_begins_at_the_entry() -> None:
    (script,) = entry_points(group="console_scripts", name="mailfleet")
    assert script.value == "mailfleet.entry:main"


def test_a_traceback_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(main), "get_command", lambda *_: boom(ValueError("odd")))
    assert "MAILFLEET_DEBUG=1" in run("check").stderr
    monkeypatch.setenv("MAILFLEET_DEBUG", "1")
    assert isinstance(run("check").exception, ValueError)


@pytest.mark.parametrize(
    ("name", "hint"), [("chek", "Did you mean check?"), ("xyz", "There are init, check, hosts")]
)
def test_an_unknown_command(name: str, hint: str) -> None:
    result = run(name)
    assert result.exit_code == 2
    assert hint in result.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("lab", "nope"), "There are "),
        (("lab", "statsu"), "Did you mean status?"),
        (("lab", "provider", "google", "shwo"), "Did you mean show?"),
        (("dns", "aply"), "Did you mean apply?"),
        (("warmup", "runn"), "Did you mean run?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_unknown_command_of_a_group(words: tuple[str, ...], hint: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert hint in result.stderr
    assert f'No such command "{words[-1]}"' in result.stderr


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from mailfleet.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyinfra', 'checkdmarc', 'cloudflare', 'hcloud'} & set(sys.modules)\n"
        "sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_outside_the_lab_documentation_addresses_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = load(ROOT)
    with pytest.raises(common.Failure, match="mailfleet lab run --") as caught:
        common.refuse_outside_lab(fleet)
    assert caught.value.exit_code == 2
    address = IPv4Address("192.0.2.1")  # documentation too, but not of the lab
    elsewhere = tuple(
        host.model_copy(update={"ipv4": address, "ipv6": None}) for host in fleet.hosts
    )
    common.refuse_outside_lab(fleet.model_copy(update={"hosts": elsewhere}))
    monkeypatch.setenv("MAILFLEET_LAB", "1")  # set by mistake, on a machine that is not the lab
    with pytest.raises(common.Failure, match="mailfleet lab run --"):
        common.refuse_outside_lab(fleet)
    monkeypatch.setenv("MAILFLEET_LAB", "1")
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)
    common.refuse_outside_lab(fleet)


def test_tables_in_a_pipe_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_table(("a", "long heading"), [("value", "x"), ("", "yy")])
    assert capsys.readouterr().out == "a      long heading\nvalue  x\n       yy\n"
