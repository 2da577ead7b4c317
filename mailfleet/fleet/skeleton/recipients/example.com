# Valid recipients of example.com, one a line: a local part or a whole address. Mail to anything
# else is refused while the sender is still connected. postmaster@ and abuse@ are always accepted.
dmarc
info
