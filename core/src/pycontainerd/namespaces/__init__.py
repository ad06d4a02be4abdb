"""Namespaces isolate everything."""
