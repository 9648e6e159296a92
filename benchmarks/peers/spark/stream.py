"""Kafka to Iceberg with Spark Structured Streaming, in Spark's own environment; prints what it took as JSON.

python stream.py BROKERS TOPIC SCHEMA_FILE FOLDER JARS MESSAGES_A_BATCH
"""

import json
import sys
import time

from pyspark.sql import SparkSession  # type: ignore[import-not-found]
from pyspark.sql.avro.functions import from_avro  # type: ignore[import-not-found]
from pyspark.sql.functions import expr  # type: ignore[import-not-found]

brokers, topic, schema_file, folder, jars, messages_a_batch = sys.argv[1:]
with open(schema_file) as file:
    schema = file.read()
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jars)
    .config("spark.driver.memory", "4g")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.catalog.peer", "org.apache.iceberg.spark.SparkCatalog")
    .config("spark.sql.catalog.peer.type", "hadoop")
    .config("spark.sql.catalog.peer.warehouse", f"{folder}/warehouse")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
messages = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", brokers)
    .option("subscribe", topic)
    .option("startingOffsets", "earliest")
    .option("maxOffsetsPerTrigger", messages_a_batch)
    .load()
)
# Five bytes of framing, then the record.
body = from_avro(expr("substring(value, 6, length(value) - 5)"), schema)
rows = messages.select(body.alias("trade"), "topic", "partition", "offset").select(
    "trade.*", "topic", "partition", "offset"
)
spark.sql("CREATE NAMESPACE IF NOT EXISTS peer.k2")
spark.createDataFrame([], rows.schema).writeTo("peer.k2.trades").create()
print(json.dumps({"ready": True}), flush=True)
started = time.time()
query = (
    rows.writeStream.format("iceberg")
    .outputMode("append")
    .option("checkpointLocation", f"{folder}/checkpoint")
    .option("fanout-enabled", "true")
    .trigger(availableNow=True)
    .toTable("peer.k2.trades")
)
query.awaitTermination()
ended = time.time()
batches = [
    {"rows": one["numInputRows"], "seconds": one["durationMs"]["triggerExecution"] / 1e3}
    for one in query.recentProgress
    if one["numInputRows"]
]
print(json.dumps({"seconds": ended - started, "batches": batches}), flush=True)
# What the parent still wants to read of this process is gone with it.
sys.stdin.readline()
print(json.dumps({"rows": spark.table("peer.k2.trades").count()}), flush=True)
spark.stop()
