"""Probes: what shows whether a fault bites. They only look.

probe.py     what a probe is; readings, taken again and again by a thread for each probe
exchange.py  small requests over TCP, each over a connection of its own or over one that is kept
canaries.py  the request for each server, sent to the very address K2's processes use
states.py    what an engine says of a server, the kernel of a process, and a file of what was counted
"""
