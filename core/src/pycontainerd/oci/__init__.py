"""Runtime specs (OCI runtime-spec 1.x): the default one of containerd, edits of it, and users looked up in a root file system.

Specs are plain dictionaries, as they go over the wire and into ``config.json``. Importable by plugins.
"""

from __future__ import annotations

from .spec import SPEC_VERSION, Spec, default_spec, from_any, process_any, to_any

__all__ = ["SPEC_VERSION", "Spec", "default_spec", "from_any", "process_any", "to_any"]
