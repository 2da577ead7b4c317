"""Hosts of the region eu_central: an ordinary pyinfra inventory.

The file name is the region. The groups are senders, mx and backup_mx; every list here is a group,
so the name of any other list starts with an underscore. A list may also come from a function.
"""

senders = [
    (
        "mta1.eu.example.net",  # also its HELO name and its PTR
        {
            "ssh_hostname": "198.51.100.10",  # until DNS knows the name
            "ipv4": "198.51.100.10",
            "ipv6": "2001:db8:1::10",
            "debian": 13,
            "pool": "transactional",
        },
    ),
]

mx = [
    (
        "mx1.eu.example.net",
        {
            "ssh_hostname": "198.51.100.25",
            "ipv4": "198.51.100.25",
            "ipv6": "2001:db8:1::25",
            "debian": 13,
        },
    ),
]

# A group backup_mx has hosts that hold mail while every mx is away; best in another region, which
# is another file in this directory.
