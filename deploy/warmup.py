"""Bring every sender of the inventory to the warm-up stage of the day.

    pyinfra -y inventories/eu_central.py deploy/warmup.py [--data today=2026-11-22]

Changes nothing but the warm-up's own parameters of main.cf; run it once a day. The same, with
a table and a plan to confirm: `mailfleet warmup run`.
"""

from mailfleet.warmup import session

session.warm_up()
