"""Where records come from: capture files and the synthetic exchange. Yields records, talks to no server."""
