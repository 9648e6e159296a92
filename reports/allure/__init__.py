"""Allure results of a run: read, completed with what the card knows, and made into one HTML file where Node is there.

results.py   the result files that the harness wrote
complete.py  a copy of them with stages, severities, links and attachments
html.py      the npm package `allure`, and what it would load from outside taken out
"""
