"""Data of every host: how pyinfra reaches it."""

ssh_user = "root"
