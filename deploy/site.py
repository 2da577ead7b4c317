"""Bring every host of the inventory to its roles.

    pyinfra -y inventories/eu_central.py deploy/site.py

Run it in the fleet directory. Which roles a host has: `ROLES` in mailfleet/hosts/roles.py. A
line each, because pyinfra orders operations across hosts by the lines they are called from.
"""

from mailfleet.hosts import site

this = site.this_host()

this.install_packages()
this.apply("base")
this.apply("firewall")
this.apply("resolver")
this.apply("tls")
this.apply("opendkim")
this.apply("spamassassin")
this.apply("clamav")
this.apply("postfix")
this.note_deployed()
