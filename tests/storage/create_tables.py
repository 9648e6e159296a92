"""A process of its own that opens the catalog and creates the tables: create_tables.py CATALOG_URI WAREHOUSE."""

import sys

from k2.settings import StorageSettings
from k2.storage.catalog import IcebergCatalog

settings = StorageSettings(catalog_uri=sys.argv[1], warehouse=sys.argv[2])
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
catalog = IcebergCatalog(settings)
catalog.create_tables()
catalog.close()
