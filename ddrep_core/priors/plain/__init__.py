"""The networks of the bundled prior in plain torch: diffusers' and transformers' to the last bit, by the same names.

Importing those two takes a process several seconds, most of what a small job takes; a model of a person's own needs
them all the same. `tests/test_plain_networks.py` holds every answer against theirs.
"""
