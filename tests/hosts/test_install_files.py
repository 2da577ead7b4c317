"""The script behind the `files` operation, run by the local shell on a directory."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from hosts_sandbox import Sandbox

from mailfleet.hosts import scripts
from mailfleet.hosts.files import File


def test_writes_content_mode_and_missing_parents(sandbox: Sandbox) -> None:
    text = "käse\n$HOME `id` 'quoted'\\n\n\n"
    file = sandbox.file("etc/deep/er/x.conf", text, "640")
    assert sandbox.install([file]).returncode == 0
    path = Path(file.path)
    assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert sandbox.everything() == ["etc/deep/er/x.conf"]


def test_fact_agrees_with_what_was_written(sandbox: Sandbox) -> None:
    files = [sandbox.file("a", "1\n"), sandbox.file("b", "", "600")]
    sandbox.install(files)
    states = sandbox.states([file.path for file in files])
    assert [states[f.path].sha256 for f in files] == [f.sha256 for f in files]
    assert [states[f.path].mode for f in files] == [0o644, 0o600]
    assert all(states[f.path].user == f.user for f in files)


def test_fact_of_nothing_is_empty_not_unknown(sandbox: Sandbox) -> None:
    assert sandbox.states([f"{sandbox.root}/none"]) == {}


def test_a_link_is_not_the_file(sandbox: Sandbox) -> None:
    file = sandbox.file("resolv.conf", "nameserver 127.0.0.1\n")
    other = sandbox.root / "other"
    other.write_text(file.content)
    Path(file.path).symlink_to(other)
    state = sandbox.states([file.path])[file.path]
    assert not state.regular
    assert state.sha256 is None
    assert sandbox.install([file]).returncode == 0
    assert not Path(file.path).is_symlink()
    assert other.read_text() == file.content


def test_checker_sees_the_new_files_and_its_words_are_shown(sandbox: Sandbox) -> None:
    new = sandbox.file("x.conf", "good\n")
    Path(new.path).write_text("old\n")
    seen = sandbox.install(
        [new],
        validate=f'cat "$(staged {new.path})" "$(staged /etc/hostname)"; ls -d "$work"; false',
    )
    assert seen.returncode == 1
    assert "good\n" in seen.stderr
    assert Path("/etc/hostname").read_text() in seen.stderr
    assert "refused by its own checker" in seen.stderr
    assert Path(new.path).read_text() == "old\n"
    assert sandbox.everything() == ["x.conf"]
    assert [path.name for path in sandbox.run.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    "validate", ["false\ntrue", "exit 3", "true; (exit 2); true # comment", "kill -TERM $$"]
)
def test_any_failing_line_of_the_checker_refuses(sandbox: Sandbox, validate: str) -> None:
    new = sandbox.file("x.conf", "new\n")
    assert sandbox.install([new], validate=validate).returncode != 0
    assert sandbox.everything() == []


def test_killed_between_staging_and_rename_then_run_again(sandbox: Sandbox) -> None:
    new = sandbox.file("key", "secret\n", "640", secret=True)
    Path(new.path).write_text("old\n")
    assert sandbox.install([new], validate="kill -KILL $$").returncode == -9
    assert Path(new.path).read_text() == "old\n"
    left = Path(new.staged)
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert left.stat().st_uid == os.getuid()
    assert new.staged in sandbox.states([new.path, new.staged])
    assert sandbox.install([new], leftovers=[new.staged]).returncode == 0
    assert sandbox.everything() == ["key"]
    assert Path(new.path).read_text() == "secret\n"
    assert [path.name for path in sandbox.run.iterdir()] == ["lock"]


def test_leftovers_alone_are_removed_without_input(sandbox: Sandbox) -> None:
    file = sandbox.file("key", "x")
    Path(file.staged).write_text("half")
    script = scripts.install_files([], [], [file.staged], None)
    assert sandbox.sh(script).returncode == 0
    assert sandbox.everything() == []


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_torn_payload_changes_nothing(sandbox: Sandbox, keep: int) -> None:
    new = sandbox.file("x", os.urandom(2000).hex())
    Path(new.path).write_text("old\n")
    payload = scripts.payload([new])[:keep]
    ended = sandbox.sh(scripts.install_files([new], [], [], None), payload)
    assert ended.returncode != 0
    assert Path(new.path).read_text() == "old\n"
    assert sandbox.everything() == ["x"]


def test_absent_files_go_only_after_the_new_ones_came(sandbox: Sandbox) -> None:
    gone = sandbox.root / "gone"
    gone.write_text("x")
    new = sandbox.file("x", "new")
    assert sandbox.install([new], absent=[str(gone)], validate="false").returncode != 0
    assert gone.exists()
    assert sandbox.install([new], absent=[str(gone)]).returncode == 0
    assert sandbox.everything() == ["x"]


def test_a_directory_in_the_way_is_an_error(sandbox: Sandbox) -> None:
    new = sandbox.file("x", "new")
    Path(new.path).mkdir()
    ended = sandbox.install([new])
    assert ended.returncode == 1
    assert "x" in ended.stderr
    assert not Path(new.staged).exists()


def test_early_failure_reads_the_whole_input_first(sandbox: Sandbox) -> None:
    """Otherwise the sender of a large payload meets a broken pipe, and the reason is lost."""
    sandbox.run.write_text("a file where the directory should be")
    new = sandbox.file("x", os.urandom(300_000).hex())
    ended = sandbox.install([new])  # subprocess would raise BrokenPipeError
    assert ended.returncode == 1
    assert "mkdir" in ended.stderr


def test_two_runs_at_once_wait_for_each_other(sandbox: Sandbox) -> None:
    file = sandbox.file("x", "slow\n")
    slow = subprocess.Popen(
        ["sh", "-c", scripts.install_files([file], [], [], "sleep 1")],
        stdin=subprocess.PIPE,
        text=True,
    )
    assert slow.stdin is not None
    slow.stdin.write(scripts.payload([file]) + "\n")
    slow.stdin.close()
    deadline = time.monotonic() + 5
    while not Path(file.staged).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sandbox.install([sandbox.file("x", "second\n")]).returncode == 0
    assert slow.wait() == 0
    assert Path(file.path).read_text() == "second\n"


def test_secrets_are_not_in_the_command() -> None:
    secret = File("/etc/key", "hunter2hunter2\n", "600", secret=True)
    assert "hunter2" not in scripts.install_files([secret], [], [], "true")
