"""What a garbage collector works on: the records and the back ends, and its place in the API."""
