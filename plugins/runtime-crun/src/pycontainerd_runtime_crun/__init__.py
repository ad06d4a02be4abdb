"""The runtime io.containerd.crun.v2."""
