"""ttrpc, the small RPC between the daemon and its shims (containerd/ttrpc PROTOCOL.md).

`frame` and `connection` are the protocol without I/O, `dispatch` leads from a call to its response. `client` and `server`
put them on asyncio for the daemon. A shim has a loop of its own and does without the protobuf package, so it speaks ttrpc
by itself (shim/rpc.py).
"""
