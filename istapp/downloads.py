"""Downloads of the registered sets into the user's cache: only when asked for, resumed, and checked pixel by pixel."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return where downloaded sets are kept, ``~/.cache/istapp`` unless XDG_CACHE_HOME says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "istapp"
