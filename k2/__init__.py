"""K2, the market data platform.

Read the packages in the order a record travels: records -> feeds -> ingestion -> storage -> query -> api

`records` is pure; each third-party server is talked to by exactly one package (Kafka: ingestion, Iceberg:
storage, DuckDB: query). Nothing here imports the harness (conformance, chaos, load, reports).
"""

__version__ = "0.1.0"
