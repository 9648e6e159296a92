"""The peers of benchmarks.side_by_side: what they are made of, how they are configured and started.

java.py       jars from Maven Central, a broker, processes whose cores are counted
connect/      Kafka Connect with the Iceberg sink
spark/        Spark Structured Streaming
"""
