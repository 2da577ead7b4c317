"""Data of every host: how pyinfra reaches it. Data of a host or of a group wins over it."""

ssh_user = "root"
# ssh_port = 22
# ssh_key = "~/.ssh/id_ed25519"
