"""The scenarios as clauses, run by pytest with the plugin of the clauses; `python -m chaos run` starts it."""
