"""Secrets: fleet.yml has references, `resolve` reads what they refer to when it is needed."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

from mailfleet.fleet.errors import Problem, SecretError, Severity
from mailfleet.fleet.types import SECRET_PATTERN

_FORMS = "env:NAME, file:PATH or command:COMMAND"
_TIMEOUT = 60  # seconds; a password manager may ask its owner


def resolve(ref: str, fleet_directory: Path) -> str:
    """The secret that a reference names, without the line break at its end.

    `env:NAME` is an environment variable; `file:PATH` a UTF-8 file, relative to the fleet
    directory, that others may not read; `command:COMMAND` what a shell command prints, run in the
    fleet directory (its standard error is shown, it gets no input).

    Raises SecretError, whose message never holds the secret.
    """
    if not re.fullmatch(SECRET_PATTERN, ref):
        raise _error("secret", "something that is not a reference (not shown)", _FORMS)
    kind, _, rest = ref.partition(":")
    if kind == "env":
        secret = os.environ.get(rest, "")
        found = f"the environment variable {rest} is {'empty' if rest in os.environ else 'not set'}"
    elif kind == "file":
        secret, found = _from_file(ref, rest, fleet_directory), "an empty file"
    else:
        secret, found = _from_command(ref, rest, fleet_directory), "it printed nothing"
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise _error(ref, found, "a value")
    return secret


def path_of(ref: str, fleet_directory: Path) -> Path | None:
    """The file of a `file:` reference, None for the other kinds."""
    kind, _, rest = ref.partition(":")
    return fleet_directory / Path(rest).expanduser() if kind == "file" else None


def open_to_others(path: Path) -> str:
    """The mode of a file that everybody on the machine may read or write, else ''.

    Raises OSError.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{mode:04o}" if mode & (stat.S_IROTH | stat.S_IWOTH) else ""


def _error(ref: str, found: str, accepted: str, hint: str = "") -> SecretError:
    return SecretError([Problem(Severity.ERROR, "fleet.yml", None, ref, "", found, accepted, hint)])


def _from_file(ref: str, rest: str, fleet_directory: Path) -> str:
    path = fleet_directory / Path(rest).expanduser()
    try:
        mode = open_to_others(path)
        if mode:
            hint = f"chmod 600 {path}"
            raise _error(ref, f"mode {mode}: everybody may read it", "mode 0600 or 0640", hint)
        return path.read_bytes().decode()
    except OSError as error:
        raise _error(ref, f"{path}: {error.strerror}", "a readable file") from None
    except UnicodeDecodeError:
        raise _error(ref, "bytes that are not UTF-8", "UTF-8 text") from None


def _from_command(ref: str, rest: str, fleet_directory: Path) -> str:
    hint = "Run the command by hand to see why."
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", rest],
            cwd=fleet_directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"no answer within {_TIMEOUT} s"
        raise _error(ref, found, "a command that prints the secret", hint) from None
    except OSError as error:
        raise _error(ref, str(error.strerror), "a command that prints the secret") from None
    if done.returncode != 0:
        raise _error(ref, f"exit status {done.returncode}", "exit status 0", hint)
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise _error(ref, "bytes that are not UTF-8", "UTF-8 text") from None
