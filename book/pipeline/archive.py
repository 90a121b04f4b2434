"""One zip that outlives its makers: the pages, the project's sources, and a hash of every file.

It opens by a double click from any folder or USB stick, without a network. The same files make the same bytes, at any
hour.
"""

import hashlib
import re
import shutil
import string
import subprocess
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

from pipeline import ROOT, BuildError, pages

SUMS = "SHA256SUMS"
START = "START_HERE.html"
#: Where nothing of the project lies, in a checkout without git's own list of its files.
NOT_SOURCES = {"build", "runs", "node_modules", "__pycache__"}
#: What the file systems of USB sticks and of Windows do not take as a name.
REFUSED = re.compile(r'[<>:"|?*\\\x00-\x1f]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.I)
LONGEST = 180  # letters of a path in the zip, which leaves some eighty for the folder in which it is unpacked
DATE = (1980, 1, 1, 0, 0, 0)  # of every file, so that the bytes are the same at any hour


def write() -> Path:
    """Pack `build/html` and the sources into `build/istapp-VERSION.zip`; returns that file.

    Raises:
        BuildError: a name that some file system would refuse, or two that differ in capitals only.
    """
    name = f"istapp-{version()}"
    files = {f"book/{path.relative_to(pages.HTML).as_posix()}": path for path in sorted(pages.HTML.rglob("*"))}
    files |= {f"source/{path.relative_to(ROOT).as_posix()}": path for path in sources()}
    files = {inside: path for inside, path in files.items() if path.is_file() and not path.is_symlink()}
    if found := name_faults([f"{name}/{inside}" for inside in files]):
        raise BuildError("\n".join(found))
    target = pages.BUILD / f"{name}.zip"
    unfinished = target.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as packed:
        sums = {}
        for inside, content in [(START, start().encode()), *((inside, files[inside]) for inside in sorted(files))]:
            data = content.read_bytes() if isinstance(content, Path) else content
            runs = isinstance(content, Path) and content.stat().st_mode & 0o100
            sums[inside] = hashlib.sha256(data).hexdigest()
            add(packed, f"{name}/{inside}", data, 0o755 if runs else 0o644)
        listed = "".join(f"{sums[inside]}  {inside}\n" for inside in sorted(sums))
        add(packed, f"{name}/{SUMS}", listed.encode(), 0o644)
    unfinished.replace(target)
    return target


def add(packed: zipfile.ZipFile, inside: str, data: bytes, mode: int) -> None:
    """Put a file into the zip, with nothing of this machine but its rights."""
    about = zipfile.ZipInfo(inside, DATE)
    about.compress_type, about.external_attr, about.create_system = zipfile.ZIP_DEFLATED, (0o100000 | mode) << 16, 3
    packed.writestr(about, data)


def version() -> str:
    """The version of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def sources() -> list[Path]:
    """The files that belong to the project: those that git keeps; without git all but what is built or hidden."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        return [ROOT / name for name in sorted(done.stdout.split("\0")) if name and (ROOT / name).is_file()]
    found = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*")) if path.is_file()]
    hidden = lambda part: part.startswith(".") and part not in (".ci", ".github", ".gitignore")  # noqa: E731
    return [ROOT / path for path in found if not any(p in NOT_SOURCES or hidden(p) for p in path.parts)]


def name_faults(names: list[str]) -> list[str]:
    """Paths that cannot be unpacked everywhere, in words."""
    found, seen = [], {}
    for name in names:
        if any(REFUSED.search(part) for part in PurePosixPath(name).parts):
            found.append(f"{name}: Windows or a USB stick refuses such a name")
        if len(name) > LONGEST:
            found.append(f"{name}: {len(name)} letters, more than {LONGEST}, are too long a path for Windows")
        if (other := seen.setdefault(name.lower(), name)) != name:
            found.append(f"{name} and {other} are one file where capitals do not count")
    return found


def start() -> str:
    """The page that a reader of the zip opens first."""
    text = (ROOT / "book" / "archive" / START).read_text(encoding="utf-8")
    return string.Template(text).substitute(version=version())
