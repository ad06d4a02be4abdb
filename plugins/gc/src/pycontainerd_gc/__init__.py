"""Garbage collection: what nothing refers to is found on a snapshot of the records and removed bit by bit."""
