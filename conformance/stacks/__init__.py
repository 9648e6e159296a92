"""Stacks: what the clauses run against. One interface, whatever is underneath."""
