"""The shell scripts that change a host: POSIX sh, coreutils, tar and util-linux, nothing else.

Whatever is secret or large comes through standard input, so that nobody sees it in the process
list. A script that fails always reads its input to the end first: otherwise the sender meets a
broken pipe and the reason is lost.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from mailfleet.hosts.facts import RUN, quoted
from mailfleet.hosts.files import File
from mailfleet.hosts.units import Verb

POLICY = "/usr/sbin/policy-rc.d"
LOCK_SECONDS = 120
ACTIVE_SECONDS = 15


def payload(files: Sequence[File]) -> str:
    """The staged files as a compressed tar archive in base64; every member 0600 root:root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for file in files:
            content = file.content.encode()
            member = tarfile.TarInfo(file.staged.lstrip("/"))
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return base64.b64encode(buffer.getvalue()).decode()


def install_files(
    files: Sequence[File], absent: Sequence[str], leftovers: Sequence[str], validate: str | None
) -> str:
    """Stage, validate, then rename `files` (their payload is the input) and remove `absent`.

    Until the first rename nothing that lives has changed; any failure before it removes the
    staged files. A rename replaces a file atomically (rename(2)).
    """
    staged = quoted([file.staged for file in files])
    parents = quoted(sorted({str(PurePosixPath(file.path).parent) for file in files}))
    cases = " ".join(f"{file.path}) echo {file.staged};;" for file in files)
    lines = [
        "umask 077",
        "drain() { cat >/dev/null; exit 1; }",
        f"mkdir -p -m 0700 {RUN} || drain",
        f"exec 9>{RUN}/lock || drain",
        f"flock -w {LOCK_SECONDS} 9 || "
        f"{{ echo 'another mailfleet run has held {RUN}/lock for {LOCK_SECONDS} s' >&2; drain; }}",
        f"find {RUN} -maxdepth 1 -name 'check.*' -exec rm -rf {{}} +",
    ]
    if leftovers:
        lines.append(f"rm -f -- {quoted(leftovers)}")
    if files:
        lines += [
            f"work=$(mktemp -d {RUN}/check.XXXXXX) || drain",
            f'discard() {{ rm -f -- {staged}; rm -rf -- "$work"; }}',
            "trap discard EXIT",
            "trap 'exit 143' HUP INT TERM PIPE",
            f"rm -f -- {staged}; (umask 022; mkdir -p -- {parents}) || drain",
            "base64 -d | { tar -xzpmf - -C / --no-same-owner; status=$?; cat >/dev/null; "
            "exit $status; } || "
            # tar does not say why it wrote less than it wanted.
            f"{{ echo 'the new files could not be written' >&2; df -h -- {parents} >&2; exit 1; }}",
            f'staged() {{ case $1 in {cases} *) echo "$1";; esac; }}',
        ]
        if validate:
            # Not `( ... ) ||`: that would switch off `set -e` inside.
            lines += [
                f"( set -e; exec 9>&- </dev/null 2>&1; {validate}\n) >&2",
                "if [ $? -ne 0 ]; then echo 'refused by its own checker: "
                "the files on the host are unchanged' >&2; exit 1; fi",
            ]
        for file in files:
            lines.append(
                f"chown {file.user}:{file.group} {file.staged} && "
                f"chmod {file.mode} {file.staged} || exit 1"
            )
        lines.append(f"sync -- {staged} || exit 1")
        lines += [f"mv -fT {file.staged} {file.path} || exit 1" for file in files]
    if absent:
        lines.append(f"rm -f -- {quoted(absent)} || exit 1")
    return "\n".join(lines)


def apply_service(unit: str, verbs: Sequence[Verb], running: bool) -> str:
    """Do some `systemctl` verbs, wait until the unit is as wanted, then keep the stamp (input)."""
    lines = [
        f"drain() {{ cat >/dev/null; systemctl status --no-pager --lines=0 -- {unit} >&2; "
        f"journalctl --no-pager --quiet --lines=25 --output=cat -u {unit} >&2; exit 1; }}",
        # Otherwise a unit that failed too often is not even tried.
        f"systemctl reset-failed -- {unit} 2>/dev/null",
    ]
    lines += [f"{_systemctl(verb, unit)} || drain" for verb in verbs]
    if not running:
        lines.append(f"rm -f -- {RUN}/{unit}.digest; cat >/dev/null")
        return "\n".join(lines)
    lines += [
        f"n=0; until systemctl is-active --quiet -- {unit}; do n=$((n+1)); "
        f"systemctl is-failed --quiet -- {unit} && drain; "
        f'[ "$n" -le {ACTIVE_SECONDS} ] || drain; sleep 1; done',
        f"umask 077; mkdir -p -m 0700 {RUN} && cat >{RUN}/{unit}.new && "
        f"mv -f {RUN}/{unit}.new {RUN}/{unit}.digest",
    ]
    return "\n".join(lines)


def _systemctl(verb: Verb, unit: str) -> str:
    if verb == "daemon-reload":
        return "systemctl daemon-reload"
    if verb == "enable":
        return f"systemctl is-enabled --quiet -- {unit} || systemctl enable --quiet -- {unit}"
    quiet = "--quiet " if verb == "disable" else ""
    return f"systemctl {verb} {quiet}-- {unit}"


def install_packages(names: Sequence[str], debconf: Sequence[str]) -> str:
    """Install packages without starting their services: they are not configured yet.

    A policy-rc.d (invoke-rc.d(8)) says no to every start while apt runs and is removed
    afterwards; one that an operator put there is left alone.
    """
    lines = [
        f"if grep -qs mailfleet {POLICY}; then rm -f {POLICY}; fi",
        f"if [ ! -e {POLICY} ]; then trap 'rm -f {POLICY}' EXIT; "
        "trap 'exit 143' HUP INT TERM PIPE; "
        f"printf '#!/bin/sh\\n# mailfleet: packages are being installed\\nexit 101\\n' >{POLICY} "
        f"&& chmod 755 {POLICY} || exit 1; fi",
    ]
    if not names:
        return lines[0]
    options = (
        "-y -q --no-install-recommends -o Dpkg::Options::=--force-confdef "
        f"-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout={LOCK_SECONDS}"
    )
    lines += [
        "export DEBIAN_FRONTEND=noninteractive LC_ALL=C; exec </dev/null",
        # Neither `apt-get update` nor `dpkg --configure` waits for a lock by itself.
        'patient() { n=0; until words=$("$@" 2>&1); do '
        f'case $words in *"lock"*) n=$((n+1)); if [ "$n" -le {LOCK_SECONDS // 5} ]; '
        "then sleep 5; continue; fi;; esac; "
        'printf "%s\\n" "$words" >&2; return 1; done; }',
        *(
            f"printf '%s\\n' {quoted([line])} | debconf-set-selections || exit 1"
            for line in debconf
        ),
        "patient dpkg --force-confdef --force-confold --configure -a || exit 1",
        # An index that cannot be fetched is told, and matters only when the installation fails.
        "patient apt-get -q update",
        f"patient apt-get install {options} -- {quoted(names)} || exit 1",
    ]
    return "\n".join(lines)
