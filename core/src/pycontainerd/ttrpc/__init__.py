"""ttrpc, the small RPC between the daemon and its shims (containerd/ttrpc PROTOCOL.md).

`frames` is the protocol without I/O; `client` and `server` put it on asyncio streams. Light on purpose: a shim imports
this and no gRPC.
"""
