"""Where the `mailfleet` command begins: importing the rest takes long enough for a Ctrl-C."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command. A Ctrl-C ends it with exit code 130, also while it is still importing."""
    try:
        from mailfleet.cli.main import main as command  # noqa: PLC0415

        command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.stderr.flush()
        os._exit(130)  # half of a module may be there: nothing of it is to run any more
