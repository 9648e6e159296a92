"""The clause, run by pytest with the plugin of the clauses; `python -m chaos alerts` starts it."""
