"""stub"""
import os
from pathlib import Path
def cache_folder(): return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "istapp"
