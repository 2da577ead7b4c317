"""Hosts of the region us_east: an ordinary pyinfra inventory."""

senders = [
    (
        "mta1.us.example.net",
        {
            "ssh_hostname": "198.51.100.138",
            "ipv4": "198.51.100.138",
            "ipv6": "2001:db8:2::10",
            "debian": 13,
            "pool": "marketing",
        },
    ),
]

backup_mx = [
    (
        "mx1.us.example.net",
        {
            "ssh_hostname": "198.51.100.153",
            "ipv4": "198.51.100.153",
            "ipv6": "2001:db8:2::25",
            "debian": 12,
        },
    ),
]
