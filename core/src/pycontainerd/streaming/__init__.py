"""Streams of messages that clients open beside other calls: bytes, progress, credentials."""
