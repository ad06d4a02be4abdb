"""The API of garbage collection, our own."""
