"""The daemon process: command line, listeners (as plugins), signals, readiness, logging."""
