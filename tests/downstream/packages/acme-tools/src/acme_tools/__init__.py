"""A sample of a third-party package with hooks: a change of every spec, and a command of ctr."""
