"""The mailbox providers of the lab: what receives, judges and keeps the fleet's mail.

`python -m mailfleet.lab.providers NAME --directory DIR` runs one of them. See
`docs/lab-providers.md` for what they check and what can be asked of them.
"""
