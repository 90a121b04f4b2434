"""From sources and executed chapters to HTML: a staging copy, a strict Sphinx run, a check, and only then a result."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline import ROOT, BuildError, demo, keys, notebooks
from pipeline.check import alt_faults, claim_faults, faults, ledger_faults, parse
from pipeline.execute import executed_of, recorded

BUILD = ROOT / "build"
SITE = BUILD / "site"
HTML = BUILD / "html"
LOG = BUILD / "sphinx.log"
MANIFEST = BUILD / "html.json"
NOT_OURS = {".nojekyll"}  # what `make publish` adds to the pages


def merged(notebook: Path) -> dict:
    """The current text of a chapter with the outputs of its last execution and the minutes that it took.

    Outputs are laid on the source's cells, so edited Markdown and captions show, and what papermill adds (its
    parameters cell, its metadata, widget state) never reaches a page.
    """
    page, record = notebooks.read(notebook), recorded(notebook)
    executed = json.loads(executed_of(notebook).read_text(encoding="utf-8"))
    outputs = iter(
        (cell["outputs"], cell["execution_count"])
        for cell in notebooks.code_cells(executed)
        if "injected-parameters" not in cell["metadata"].get("tags", [])
    )
    profile = record["key"]["parameters"]["profile"]
    minutes = f"{record['processor_seconds'] / 60:.1f}, measured on one core (profile {profile})"
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = next(outputs)
        else:
            cell["source"] = re.sub(
                r"^(\*\*Minutes to run:\*\*).*$", rf"\1 {minutes}", "".join(cell["source"]), flags=re.M
            )
    notebooks.label_folded(page)
    notebooks.caption_origins(page)
    prose = "\n".join(cell["source"] for cell in page["cells"] if cell["cell_type"] == "markdown")
    if not re.search(r"^#+ ", prose, re.M):  # Sphinx has no use for a page without a title
        title = {"cell_type": "markdown", "metadata": {}, "source": f"# {notebook.stem.replace('_', ' ')}"}
        page["cells"].insert(0, title | ({"id": "title"} if page["nbformat_minor"] >= 5 else {}))
    return page


def stage() -> tuple[str, list[str]]:
    """Fill `build/site` with what Sphinx shall see.

    Returns a hash of it, of the documented module and of the pinned versions, and a line for each picture of a chapter
    that has no alt text; such a picture says on its page that nobody has described it yet.
    """
    shutil.rmtree(SITE, ignore_errors=True)
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "book", SITE / "book", ignore=hidden)
    if notebooks.FOLDER.exists():  # pages, pictures and subfolders beside the chapters
        hidden = shutil.ignore_patterns("__pycache__", ".*", "*.ipynb")
        shutil.copytree(notebooks.FOLDER, SITE / "notebooks", ignore=hidden, ignore_dangling_symlinks=True)
    tables = [path.relative_to(ROOT) for path in (ROOT / "data").rglob("*.csv")]
    for path in [Path("_config.yml"), Path("_toc.yml"), Path("CITATION.cff"), *tables]:
        (SITE / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, SITE / path)
    if why := demo.write(SITE):
        print(f"warning: {demo.PAGE} has no network: {why}", file=sys.stderr, flush=True)
    missing = []
    for notebook in notebooks.chapters():
        page = merged(notebook)
        for number, cell in notebooks.undescribed(page):
            missing.append(notebooks.ask_for_alt(notebook, number, cell))
            image = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
            image["alt"] = f"The picture of code cell {number}, which nobody has described yet"
        text = json.dumps(page, indent=1, ensure_ascii=False)
        (SITE / notebook.relative_to(ROOT)).write_text(text, encoding="utf-8")
    checked = [*(ROOT / "data" / "weights").glob("*.safetensors"), ROOT / "README.md"]  # what claims and ledger look at
    seen = hashlib.sha256()
    for path in sorted([*SITE.rglob("*"), *(ROOT / "istapp").rglob("*.py"), *checked, keys.PINS]):
        if path.is_file():
            seen.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return seen.hexdigest(), missing


def sphinx() -> Path:
    """Write the staged book as HTML with every warning an error; returns the folder.

    Raises:
        BuildError: with Sphinx's warnings.
    """
    command = [Path(sys.executable).with_name("jupyter-book"), "build", SITE, "--path-output", BUILD]
    here = os.environ | {"PYTHONPATH": str(ROOT)}  # this checkout's istapp is documented
    done = subprocess.run([*command, "-W", "-n", "--keep-going"], capture_output=True, text=True, env=here)
    LOG.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr).replace(f"{SITE}{os.sep}", "").splitlines()
        shown = dict.fromkeys(line for line in said if re.search("WARNING|ERROR|Error", line))
        raise BuildError("\n".join([*shown, f"Sphinx refused the book; its whole log is {LOG.relative_to(ROOT)}"]))
    return BUILD / "_build" / "html"


def files() -> dict[str, str]:
    """A hash for each file of `build/html`, by its path there; for a link, which the build never makes, its target."""
    hashes = {}
    for path in sorted(HTML.rglob("*")):
        name = path.relative_to(HTML).as_posix()
        if path.is_symlink():
            hashes[name] = f"link to {os.readlink(path)}"
        elif path.is_file() and name not in NOT_OURS:
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def written() -> dict:
    """What the last build noted of its pages: the hash of what they were made from, and one for each file."""
    try:
        noted = json.loads(MANIFEST.read_text(encoding="utf-8"))
        return noted if {"inputs", "files"} <= noted.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}


def edited() -> list[str]:
    """Files of `build/html` that are not as the build wrote them, in words; none where there are no pages yet."""
    noted = written().get("files", {}) if HTML.exists() else {}
    here = files() if noted else {}
    words = [(here.keys() - noted.keys(), "was added"), (noted.keys() - here.keys(), "was deleted")]
    words += [({name for name in here.keys() & noted.keys() if here[name] != noted[name]}, "was changed")]
    return [f"build/html/{name} {what} after the build" for names, what in words for name in sorted(names)]


def write(strict: bool) -> None:
    """Make `build/html` show the sources and executed chapters as they are now; nothing is done when it does.

    A picture without alt text, or with one that is no description, is a fault if `strict` and a warning otherwise.

    Raises:
        BuildError: a sentence's number is wrong, the ledger does not follow from the rows, Sphinx warned, or a page
            has a fault; the last good HTML stays.
    """
    inputs, missing = stage()
    if missing and strict:
        raise BuildError("\n".join(missing))
    for line in missing:
        print(f"warning: {line}", file=sys.stderr, flush=True)
    if HTML.exists() and written().get("inputs") == inputs and not edited():
        print("the pages are up to date", flush=True)
        return
    print("writing the pages ...", flush=True)
    shutil.rmtree(BUILD / "_build", ignore_errors=True)
    with ThreadPoolExecutor() as beside:  # on the second core
        claims, ledger = beside.submit(claim_faults, ROOT), beside.submit(ledger_faults, ROOT)
        fresh = sphinx()
    if found := claims.result() + ledger.result():
        raise BuildError("\n".join(found))
    pages = parse(fresh)
    found, unclear = faults(fresh, pages), alt_faults(fresh, pages)
    if strict:
        found += unclear
    if found:
        found.append(f"{len(found)} faults in the pages, which stay in {fresh.relative_to(ROOT)} to be looked at")
        raise BuildError("\n".join(found))
    for line in unclear:
        print(f"warning: {line}", file=sys.stderr, flush=True)
    MANIFEST.unlink(missing_ok=True)
    shutil.rmtree(HTML, ignore_errors=True)
    shutil.move(fresh, HTML)
    MANIFEST.write_text(json.dumps({"inputs": inputs, "files": files()}, indent=1), encoding="utf-8")


def verify() -> None:
    """Look at every file of `build/html` once more, as it is handed over.

    Raises:
        BuildError: a file is not as the build wrote it, or a page has a fault.
    """
    pages = parse(HTML)
    if found := [*edited(), *faults(HTML, pages), *alt_faults(HTML, pages)]:
        raise BuildError("\n".join(found))
