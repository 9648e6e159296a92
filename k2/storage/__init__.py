"""The Iceberg tables: catalog, commits, progress, audit log, reading plans. The only package that imports PyIceberg."""
