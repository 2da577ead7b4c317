"""What a sender says of its warm-up: its state file, and what its Postfix has and runs."""

from __future__ import annotations

import datetime as dt
from base64 import b64decode
from collections.abc import Sequence

from pyinfra.api.facts import FactBase

from mailfleet.hosts.facts import RUN, quoted
from mailfleet.warmup.reading import Reading
from mailfleet.warmup.state import PATH


def digest_script(paths: Sequence[str]) -> str:
    """Shell words that print `mailfleet.hosts.files.digest` of files as they are on disk."""
    return (
        f"for f in {quoted(sorted(paths))}; do "
        'printf "%s %s\\n" "$(stat -c "%n %U %G %a" -- "$f")" '
        '"$(sha256sum <"$f" | cut -c1-64)"; done 2>/dev/null | sha256sum | cut -c1-64'
    )


class WarmupState(FactBase[Reading | None]):
    """The state of a sender and its Postfix in one command. None is a read that failed.

    + names: parameters of main.cf to read
    + unit: the systemd unit of Postfix, for whether it runs, and what
    + watches: the files whose digest its stamp has
    """

    def command(
        self, names: Sequence[str] = (), unit: str = "", watches: Sequence[str] = ()
    ) -> str:
        lines = [
            "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin",
            "date -u '+date %Y-%m-%d'",
            f'if [ -e {PATH} ]; then printf "state "; base64 -w0 {PATH} || exit 1; echo; '
            f'echo "known $(sha256sum <{PATH} | cut -c1-64)"; fi',
            "if command -v postconf >/dev/null && [ -s /etc/postfix/main.cf ]; then",
            "echo installed yes",
            f"postconf {quoted(names)} 2>/dev/null | sed 's/^/parameter /'" if names else ":",
            "postconf -M 2>/dev/null | sed 's/^/service /'",
            "fi",
        ]
        if unit:
            lines += [
                f'echo "active $(systemctl is-active -- {quoted([unit])} 2>/dev/null)"',
                f'echo "stamp $(cat {RUN}/{unit}.digest 2>/dev/null)"',
                f'echo "digest $({digest_script(watches)})"',
            ]
        return "\n".join([*lines, "echo mailfleet-warmup"])

    def process(self, output: list[str]) -> Reading | None:
        if not output or output[-1] != "mailfleet-warmup":
            return None
        found: dict[str, str] = {}
        read: dict[str, str] = {}
        services = []
        for line in output[:-1]:
            word, _, rest = line.partition(" ")
            if word == "parameter":
                name, _, value = rest.partition("=")
                read[name.strip()] = value.strip()
            elif word == "service":
                services.append(rest.split()[0])
            else:
                found[word] = rest
        text = b64decode(found["state"]).decode(errors="replace") if "state" in found else None
        return Reading(
            date=dt.date.fromisoformat(found["date"]),
            text=text,
            known=found.get("known", ""),
            installed="installed" in found,
            running=found.get("active", "") == "active",
            parameters=read,
            transports=tuple(services),
            stamp=found.get("stamp", "").partition(" ")[0],
            digest=found.get("digest", ""),
        )
