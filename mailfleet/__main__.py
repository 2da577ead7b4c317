"""`python -m mailfleet` is `mailfleet`."""

from mailfleet.cli.main import main

main()
