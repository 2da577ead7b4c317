"""`python -m mailfleet` is `mailfleet`."""

from mailfleet.entry import main

main()
