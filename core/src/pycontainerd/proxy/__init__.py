"""Plugins in other processes: snapshotters, content stores, differs and sandbox controllers behind a gRPC socket."""
