"""Groups of commands, one module each, and what all commands share. k2.cli puts them together.

Commands import what they run inside themselves, so that `k2 --help` loads none of it.
"""
