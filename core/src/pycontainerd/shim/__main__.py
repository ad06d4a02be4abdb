"""``python -m pycontainerd.shim``: see `main`."""

from .main import main

raise SystemExit(main())
