"""Answers from the tables: DuckDB engine and its connection pool. The only package that imports DuckDB."""
