"""The command line tool ``ctr``: the verbs of containerd's, on `pycontainerd.client`."""
