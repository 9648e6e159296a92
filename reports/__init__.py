"""Reads the files of a run and scores them. Imports neither the platform nor the harness."""
