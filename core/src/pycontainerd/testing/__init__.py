"""For tests of plugins and clients: images, real daemons and registries, fixtures for pytest, suites for contracts.

``pip install pycontainerd[testing]`` brings pytest, which finds the fixtures (`pycontainerd.testing.plugin`) by itself.
Importing this package imports nothing else.
"""
