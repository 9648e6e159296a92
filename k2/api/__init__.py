"""HTTP over the query engine. Translates requests and errors; holds no SQL."""
