"""The metadata database: one SQLite file, durable commits that concurrent operations share."""
