"""Leases protect resources from collection."""
