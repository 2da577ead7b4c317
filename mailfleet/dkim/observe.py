"""Which DKIM keys a host has: the public halves, read over SSH."""

from __future__ import annotations

from pyinfra.api.facts import FactBase

from mailfleet.dkim.selector import SELECTOR

# Debian's directory for keys: opendkim:opendkim, 0700. The private keys never leave it.
KEY_DIRECTORY = "/etc/dkimkeys"


def key_path(selector: str) -> str:
    """Where the private key of a selector is on its host."""
    return f"{KEY_DIRECTORY}/{selector}.private"


class DkimKeys(FactBase[dict[str, str] | None]):
    """Selector to public key (base64 DER, the `p=` of DNS), for the keys that are ours.

    None when they could not be read; a key that openssl cannot read makes the whole read fail,
    because a host that seems to have no key would be given a new one.
    """

    def command(self) -> str:
        return (
            f"LC_ALL=C; export LC_ALL; for f in {KEY_DIRECTORY}/*-[0-9][0-9][0-9][0-9][0-9][0-9]"
            '.private; do [ -e "$f" ] || continue; '
            'p=$(openssl pkey -in "$f" -pubout -outform DER | base64 -w0) && [ -n "$p" ] || '
            '{ echo "$f is no key that openssl can read: restore or remove it, then deploy again" '
            ">&2; exit 1; }; "
            'n=${f##*/}; echo "key ${n%.private} $p"; done; echo mailfleet-dkim'
        )

    def process(self, output: list[str]) -> dict[str, str] | None:
        if not output or output[-1] != "mailfleet-dkim":
            return None
        words = [line.split() for line in output[:-1]]
        return {
            each[1]: each[2]
            for each in words
            if len(each) == 3 and each[0] == "key" and SELECTOR.fullmatch(each[1])
        }
