"""Hosts of the region eu_central: an ordinary pyinfra inventory."""

senders = [
    (
        "mta1.eu.example.net",
        {
            "ssh_hostname": "198.51.100.10",
            "ipv4": "198.51.100.10",
            "ipv6": "2001:db8:1::10",
            "debian": 12,
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
