"""The shim: the process that outlives the daemon and keeps a container's processes, their I/O and their exits.

`zygote` is what the daemon uses to start one, `nursery` the process that shims are copies of, `process` becomes one of
them, `service` answers the daemon, and `main` is the same shim as an executable with the shim-v2 command line.

Everything here runs on one event loop in one thread: a shim is small because it has no second one.

How it is small (docs/architecture.md, "A shim's memory"): what every shim runs imports little, and has few functions; those
of its own it has are rehearsed before the fork.
"""
