"""Packages that a build or a test fetches with `npm pack`, held to a known hash, and no part of the project."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from pipeline import ROOT, BuildError

CACHE = ROOT / "build" / "npm"


class Unavailable(Exception):
    """Why a package cannot be had here, in words."""


def fetched(package: str, version: str, integrity: str, members: tuple[str, ...]) -> list[bytes]:
    """Fetch a package and return the content of some of its files.

    Args:
        integrity: the hash by which npm knows the package, "sha512-..." in base64.
        members: paths in the package, such as "package/axe.js".

    Raises:
        Unavailable: npm is missing or cannot fetch the package.
        BuildError: what npm brought is not the package whose hash is known, or lacks a member.
    """
    if shutil.which("npm") is None:
        raise Unavailable(f"npm, which fetches {package}, is not installed")
    print(f"fetching {package} {version} with npm, once ...", flush=True)
    command = ["npm", "pack", f"{package}@{version}", "--ignore-scripts", "--silent"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm did not fetch {package} {version} within ten minutes") from None
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            raise Unavailable(f"npm could not fetch {package} {version}")
        hashed = base64.b64encode(hashlib.sha512(found[0].read_bytes()).digest()).decode("ascii")
        if f"sha512-{hashed}" != integrity:
            raise BuildError(f"npm fetched another {package} {version} than the one whose hash is written down here")
        with tarfile.open(found[0]) as packed:
            return [_member(packed, name) for name in members]


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    try:
        file = packed.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise BuildError(f"the package has no file {name}")
    return file.read()
