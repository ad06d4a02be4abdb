"""grpc.health.v1: is the daemon serving, and which of its services."""
