"""Puts the parts together from settings, one module for each kind of process: a process loads only what it runs."""
