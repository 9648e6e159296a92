"""Records into Kafka and out of it again: producer, consumer, sequence tracker, dead letters.

The only package that imports the Kafka client.
"""
