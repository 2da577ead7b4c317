"""`mailfleet deploy` and `mailfleet render` without hosts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailfleet.cli.deploy import _words as last_word
from mailfleet.cli.main import main
from mailfleet.fleet.load import load
from mailfleet.hosts.describe import finding_lines
from mailfleet.hosts.files import File
from mailfleet.hosts.plan import HostPlan, Plan
from mailfleet.hosts.results import HostResult
from mailfleet.hosts.roles import names_of, role
from mailfleet.hosts.verify import Finding

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """The example fleet, whose hosts refuse every SSH connection."""
    directory = tmp_path / "fleet"
    directory.mkdir()
    shutil.copy(ROOT / "fleet.yml", directory)
    for name in ("inventories", "recipients", "clamav"):
        shutil.copytree(ROOT / name, directory / name)
    for path in (directory / "inventories").glob("*.py"):
        lines = path.read_text().splitlines()
        closed = '            "ssh_hostname": "127.0.0.1", "ssh_port": 9,'
        kept = [closed if '"ssh_hostname"' in line else line for line in lines]
        path.write_text("\n".join(kept) + "\n")
    return directory


@pytest.fixture(autouse=True)
def _has_the_address_of_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)


def mailfleet(*words: str | Path, lab: bool = True) -> Result:
    environment = {"MAILFLEET_LAB": "1" if lab else None, "MAILFLEET_FLEET": None}
    return CliRunner(env=environment).invoke(main, [str(word) for word in words])


def test_deploy_stays_in_the_lab(fleet: Path) -> None:
    ended = mailfleet("deploy", "--fleet", fleet, lab=False)
    assert ended.exit_code == 2
    assert "mailfleet lab run" in ended.output


@pytest.mark.parametrize("words", [["nowhere"], ["--limit", "nobody"]])
def test_deploy_of_what_is_not_there(fleet: Path, words: list[str]) -> None:
    ended = mailfleet("deploy", "--fleet", fleet, *words)
    assert ended.exit_code == 2
    assert words[-1] in ended.output


def test_deploy_when_nobody_answers(fleet: Path) -> None:
    ended = mailfleet("deploy", "--fleet", fleet, "--yes", "--json")
    assert ended.exit_code == 3
    document = json.loads(ended.stdout)
    assert [host["status"] for host in document["plan"]["unreachable"]] == ["unreachable"] * 4
    assert document["waves"] == []
    assert document["exit_code"] == 3


def test_deploy_for_people_says_what_to_do(fleet: Path) -> None:
    ended = mailfleet("deploy", "eu_central", "--fleet", fleet, "--dry")
    assert ended.exit_code == 3
    assert "mx1.eu.example.net: unreachable" in ended.stdout
    assert "-> check that the host is up" in ended.stdout


def test_the_last_word_names_who_was_not_reached(fleet: Path) -> None:
    hosts = load(fleet).hosts
    away = [HostResult(host.name, "unreachable") for host in hosts[2:]]
    same = [HostPlan(host, (), ()) for host in hosts[:2]]
    names = f"{hosts[2].name}, {hosts[3].name}"
    assert last_word(Plan((*same,))) == "No changes."
    assert last_word(Plan((*same,), (*away,))) == (
        f"No changes on 2 hosts; 2 were not reached: {names}."
    )
    assert last_word(Plan((same[0],), (away[1],))) == (
        f"No changes on 1 host; 1 was not reached: {hosts[3].name}."
    )
    assert last_word(Plan((), (*away,))) == "No host was reached."


def test_plurals() -> None:
    findings = [Finding("a", "SMTP", "ok", ""), *[Finding("b", "SMTP", "ok", "")] * 2]
    assert list(finding_lines(findings)) == [
        "a: 1 connection as expected",
        "b: 2 connections as expected",
    ]


def test_render_writes_every_file_of_every_host(fleet: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    ended = mailfleet("render", "--fleet", fleet, target, "--json", lab=False)
    assert ended.exit_code == 0
    files = json.loads(ended.stdout)["files"]
    assert {each["host"] for each in files} == {
        f"{name}.{region}.example.net" for name in ("mta1", "mx1") for region in ("eu", "us")
    }
    written = {str(path) for path in target.rglob("*") if path.is_file()}
    assert written == {each["rendered"] for each in files} | {str(target / ".mailfleet-render")}
    main_cf = (target / "mx1.eu.example.net/etc/postfix/main.cf").read_text()
    assert "mx1.eu.example.net" in main_cf


def test_render_again_replaces_what_it_wrote(fleet: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert mailfleet("render", "--fleet", fleet, target).exit_code == 0
    assert mailfleet("render", "--fleet", fleet, target, "--limit", "mx1.eu*").exit_code == 0
    assert [path.name for path in target.iterdir() if path.is_dir()] == ["mx1.eu.example.net"]


def test_render_leaves_foreign_directories_alone(fleet: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    ended = mailfleet("render", "--fleet", fleet, target)
    assert ended.exit_code == 2
    assert "is not empty" in ended.output
    assert [path.name for path in target.iterdir()] == ["thesis.tex"]


def test_render_masks_secrets(fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = File("/etc/secret", "hunter2\n", "600", secret=True)
    monkeypatch.setattr(role("base"), "files", lambda fleet, host: (secret,))
    ended = mailfleet("render", "--fleet", fleet, tmp_path / "out")
    assert ended.exit_code == 0
    text = (tmp_path / "out/mx1.eu.example.net/etc/secret").read_text()
    assert "hunter2" not in text + ended.output


def test_render_shows_a_broken_template_without_a_traceback(fleet: Path, tmp_path: Path) -> None:
    own = fleet / "templates/etc/postfix/main.cf.j2"
    own.parent.mkdir(parents=True)
    own.write_text("myhostname = {{ hots.name }}\n")
    environment = {key: os.environ[key] for key in os.environ if key != "MAILFLEET_FLEET"}
    ended = subprocess.run(
        [sys.executable, "-m", "mailfleet", "render", "--fleet", fleet, tmp_path / "out"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert f"{own} line 1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_role_has_what_the_machinery_asks_for(fleet: Path) -> None:
    loaded = load(fleet)
    for host in loaded.hosts:
        for name in names_of(loaded, host):
            module = role(name)
            assert callable(getattr(module, name))
            assert all(isinstance(package, str) for package in module.packages(host))
            assert all(isinstance(file, File) for file in module.files(loaded, host))
            module.ports(loaded, host)
