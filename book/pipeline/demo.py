"""The page "A network in your browser": its scripts, the shipped network, the photographs and the runtime.

The runtime is the npm package onnxruntime-web, fetched by `npm pack` at the first build, compared with the hash below
and kept in `build/npm`; it is not part of the project. Where it cannot be had, or the Python package onnx is missing,
the page is written without the network and says why.
"""

import base64
import csv
import gzip
import json
import os
import shutil
import string
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from pipeline import ROOT, BuildError, npm
from pipeline.npm import Unavailable

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
MODULE, WASM = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
RUNTIME = npm.CACHE / f"{PACKAGE}-{VERSION}.js"
SOURCES = ROOT / "book" / "demo"
PAGE = Path("book", "in_your_browser.md")
FOLDER = Path("extra", "demo")  # `html_extra_path` in _config.yml lays `extra` beside the pages
FIRST = "astronaut"  # the photograph that is shown first
#: Where the frame stands at first, in pixels from the left and from the top; elsewhere in the middle.
DETAILS = {"astronaut": (157, 40), "camera": (165, 45), "chelsea": (140, 90), "coffee": (230, 120)}


def write(site: Path) -> str | None:
    """Put the demo into the staged book at `site`, in which `book/` lies already.

    Returns:
        Why the page is without the network; None if it has it, or if the book has no such page.

    Raises:
        BuildError: the package that was fetched is not the one whose hash is known.
    """
    folder = site / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if PAGE.with_suffix("").as_posix() not in (ROOT / "_toc.yml").read_text(encoding="utf-8"):
        return None
    page, why = site / PAGE, None
    try:
        if find_spec("onnx") is None:
            raise Unavailable("the Python package onnx is not installed")
        shutil.copy(runtime(), folder / "runtime.js")
    except Unavailable as reason:
        why = str(reason)
        shell = f"<p><strong>This copy of the book was built without the network:</strong> {why}.</p>\n"
        facts = _payload()
    else:
        facts = _payload(folder / "network.js")
        shell = _filled(folder)
    page.write_text(_front(facts) + page.read_text(encoding="utf-8"), encoding="utf-8")
    page.with_suffix(".html").write_text(shell, encoding="utf-8")
    return why


def _front(facts: dict[str, str]) -> str:
    """What the page knows as substitutions, and the policy by which a browser lets it connect to nothing."""
    policy = {"http-equiv=Content-Security-Policy": "connect-src 'none'"}
    return f"---\n{json.dumps({'myst': {'html_meta': policy, 'substitutions': facts}})}\n---\n\n"


def _filled(folder: Path) -> str:
    """Add our own scripts and the photographs to the large ones in `folder`; returns what the page shows of them."""
    sizes = {name: (folder / f"{name}.js").stat().st_size / 1e6 for name in ("runtime", "network")}
    shutil.copy(SOURCES / "demo.css", folder)
    together = "".join((SOURCES / name).read_text(encoding="utf-8") for name in ("measure.js", "demo.js"))
    (folder / "demo.js").write_text(f"(() => {{\n{together}}})();\n", encoding="utf-8")
    shell = string.Template((SOURCES / "demo.html").read_text(encoding="utf-8"))
    said = {name: f"{size:.1f}" for name, size in sizes.items()} | {"megabytes": f"{sum(sizes.values()):.1f}"}
    return shell.substitute(said, photographs=_photographs(folder / "photos"))


def _photographs(folder: Path) -> str:
    """Write each bundled photograph as a script of its own; returns the choices of the page."""
    folder.mkdir()
    choices = []
    with (ROOT / "data" / "photos" / "ATTRIBUTION.csv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            name = Path(row["file"]).stem
            content = base64.b64encode((ROOT / "data" / "photos" / row["file"]).read_bytes()).decode("ascii")
            (folder / f"{name}.js").write_text(f'istappDemo.photos["{name}"] = "{content}";\n', encoding="ascii")
            more = " selected" if name == FIRST else ""
            more += ' data-at="{} {}"'.format(*DETAILS[name]) if name in DETAILS else ""
            choices.append(f'<option value="{name}"{more}>{name} ({row["scene"]})</option>')
    return "\n".join([*choices, '<option value="" hidden>your own</option>'])


def _payload(*to: Path) -> dict[str, str]:
    """Run `demo.payload` with this checkout's istapp before any other, writing the network `to` a script.

    Returns:
        What is to be said of the network.

    Raises:
        BuildError: it failed; with the last line of its words.
    """
    here = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "book")))}
    command = [sys.executable, "-m", "demo.payload", *map(str, to)]
    done = subprocess.run(command, capture_output=True, text=True, env=here)
    if done.returncode:
        raise BuildError(f"{PAGE}: {(done.stderr.splitlines() or ['demo.payload failed'])[-1]}")
    return json.loads(done.stdout)


def runtime() -> Path:
    """Return the script `runtime.js` of the cache, which holds the module as text and the WebAssembly packed.

    Raises:
        Unavailable: it is not in the cache, and npm is missing or cannot fetch it.
        BuildError: what npm fetched is not the package whose hash is known.
    """
    if not RUNTIME.exists():
        module, wasm = npm.fetched(PACKAGE, VERSION, INTEGRITY, (MODULE, WASM))
        packed = base64.b64encode(gzip.compress(wasm, 9, mtime=0)).decode("ascii")
        text = json.dumps({"module": module.decode("utf-8"), "wasm": packed})
        RUNTIME.parent.mkdir(parents=True, exist_ok=True)
        unfinished = RUNTIME.with_suffix(f".{os.getpid()}")
        unfinished.write_text(f"istappDemo.runtime = {text};\n", encoding="utf-8")
        unfinished.replace(RUNTIME)
    return RUNTIME
