"""What a record is: one definition a record type, from which the Avro, Arrow and table schemas follow.

Pure: imports nothing of k2 but errors, and no client of any server.
"""
