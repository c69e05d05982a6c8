"""A job folder's way to another machine and back: one pipe by OpenSSH, with a ddrep at either end."""
