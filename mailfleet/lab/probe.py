"""The certificate that an SMTP server serves, asked for over a connection of its own.

    python -m mailfleet.lab.probe NAME ADDRESS [PORT]

prints JSON: issuer, names, not_after. It fails when the certificate does not verify against the
trust store, or is not for NAME. Run it on the lab's control machine.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import sys
from typing import Any


def served_certificate(name: str, address: str, port: int = 25) -> dict[str, Any]:
    """Issuer, names and expiry of the certificate behind STARTTLS (RFC 3207).

    Raises ssl.SSLError when it is not trusted or not for `name`, OSError when nobody answers.
    """
    context = ssl.create_default_context()
    with smtplib.SMTP(timeout=10) as smtp:
        # smtplib checks the certificate against the name it believes it is connected to.
        smtp._host = name  # type: ignore[attr-defined]
        smtp.connect(address, port)
        smtp.starttls(context=context)
        certificate = smtp.sock.getpeercert()  # type: ignore[union-attr]
    issuer = {key: value for ((key, value),) in certificate["issuer"]}
    return {
        "issuer": issuer.get("commonName", ""),
        "names": [value for kind, value in certificate["subjectAltName"] if kind == "DNS"],
        "not_after": certificate["notAfter"],
    }


def main(arguments: list[str]) -> int:
    """Exit code 0 with JSON on standard output, 1 with the reason on standard error."""
    name, address, *port = arguments
    try:
        found = served_certificate(name, address, int(port[0]) if port else 25)
    except (OSError, smtplib.SMTPException) as error:
        sys.stderr.write(f"{name} ({address}): {error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
