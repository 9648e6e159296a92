"""Doing and seeing: drivers send records and requests, observers read log, table and answers. None of them judges.

What is sent goes through K2's own producer; what is read back is read without K2: PyIceberg and pyarrow for tables,
the Kafka client and fastavro for the log, sockets for HTTP, the json module for captures.
"""
