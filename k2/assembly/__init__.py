"""Puts the platform's parts together from settings, one module for each kind of process: a process loads only its own."""
