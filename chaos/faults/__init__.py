"""Faults: each is injected and healed, and names the probes that must show it and what they must show.

    fault.py      what a fault is, and what its effect on probes is
    toxics.py     Toxiproxy: latency, jitter, bandwidth, timeout, reset_peer, slicer, limit_data, down
    servers.py    containers: killed, restarted, paused, parted from the others
    processes.py  K2's processes: SIGKILL and SIGSTOP, at a count or after a step of the protocol; answers cut off
    outages.py    what every stack can do to a dependency: gone, hung, locked
    catalogue.py  the fault of an entry of a schedule, on a stack

Nothing is judged here: what the probes saw is in the history, and the checker decides.
"""
