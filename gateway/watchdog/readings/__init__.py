"""Readers of the machine, one a file: each reads below a root folder and returns a `Reading`."""
