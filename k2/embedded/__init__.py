"""A whole platform without Docker: librdkafka's mock cluster, packaged schemas, a SQLite catalog, local files."""
