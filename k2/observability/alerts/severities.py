"""How loud an alert is."""

SEVERITIES = ("critical", "high", "medium")
"""Critical ones page at any hour, the others wait for business hours."""
