"""From sources and executed chapters to HTML: a staging copy, a strict Sphinx run, a check, and only then a result."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline import ROOT, BuildError
from pipeline.check import claim_faults, faults, ledger_faults
from pipeline.execute import EXECUTED, chapters, record_of

BUILD = ROOT / "build"
SITE = BUILD / "site"
HTML = BUILD / "html"
LOG = BUILD / "sphinx.log"
STAMP = BUILD / "html.stamp"


def merged(notebook: Path) -> dict:
    """The current text of a chapter with the outputs of its last execution and the minutes that it took.

    Outputs are laid on the source's cells, so edited Markdown and captions show, and what papermill adds (its
    parameters cell, its metadata, widget state) never reaches a page.
    """
    page = json.loads(notebook.read_text(encoding="utf-8"))
    executed = json.loads((EXECUTED / notebook.name).read_text(encoding="utf-8"))["cells"]
    outputs = iter(
        (cell["outputs"], cell["execution_count"])
        for cell in executed
        if cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"].get("tags", [])
    )
    record = json.loads(record_of(notebook).read_text(encoding="utf-8"))
    profile = record["key"]["parameters"]["profile"]
    minutes = f"{record['processor_seconds'] / 60:.1f}, measured on one core (profile {profile})"
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = next(outputs)
        else:
            cell["source"] = re.sub(
                r"^(\*\*Minutes to run:\*\*).*$", rf"\1 {minutes}", "".join(cell["source"]), flags=re.M
            )
    return page


def stage() -> str:
    """Fill `build/site` with what Sphinx shall see; returns a hash of it and of the documented module."""
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(ROOT / "book", SITE / "book", ignore=shutil.ignore_patterns("__pycache__"))
    tables = [path.relative_to(ROOT) for path in (ROOT / "data").rglob("*.csv")]
    for path in [Path("_config.yml"), Path("_toc.yml"), *tables]:
        (SITE / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, SITE / path)
    (SITE / "notebooks").mkdir()
    for notebook in chapters():
        text = json.dumps(merged(notebook), indent=1, ensure_ascii=False)
        (SITE / "notebooks" / notebook.name).write_text(text, encoding="utf-8")
    seen = hashlib.sha256()
    for path in sorted([*SITE.rglob("*"), *(ROOT / "istapp").rglob("*.py")]):
        if path.is_file():
            seen.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return seen.hexdigest()


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
        shown = [line for line in done.stderr.splitlines() if re.search("WARNING|ERROR|Error", line)]
        raise BuildError("\n".join([*shown, f"Sphinx refused the book; its whole log is {LOG.relative_to(ROOT)}"]))
    return BUILD / "_build" / "html"


def write() -> None:
    """Make `build/html` show the sources and executed chapters as they are now; nothing is done when it does.

    Raises:
        BuildError: a sentence's number is wrong, the ledger does not follow from the rows, Sphinx warned, or a page
            has a fault; the last good HTML stays.
    """
    stamp = stage()
    if HTML.exists() and STAMP.exists() and STAMP.read_text() == stamp:
        print("the pages are up to date", flush=True)
        return
    if found := claim_faults(ROOT):
        raise BuildError("\n".join([*found, f"{len(found)} sentences of data/claims.csv do not hold"]))
    if found := ledger_faults(ROOT):
        raise BuildError("\n".join(found))
    print("writing the pages ...", flush=True)
    shutil.rmtree(BUILD / "_build", ignore_errors=True)
    fresh = sphinx()
    if found := faults(fresh):
        found.append(f"{len(found)} faults in the pages, which stay in {fresh.relative_to(ROOT)} to be looked at")
        raise BuildError("\n".join(found))
    STAMP.unlink(missing_ok=True)
    shutil.rmtree(HTML, ignore_errors=True)
    shutil.move(fresh, HTML)
    STAMP.write_text(stamp)
