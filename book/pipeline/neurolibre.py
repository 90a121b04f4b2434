"""The project in the layout that NeuroLibre asks of a repository, made below `build` so that ours need not have it.

`content` holds the book and, so that it runs, the module and its data; `paper.md` and `paper.bib` become the first page
of a preprint; `binder` describes the machine. No folder at the top is called `data`: NeuroLibre mounts its own there.
"""

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

from pipeline import ROOT, BuildError, archive, notebooks, pages

FOLDER = pages.BUILD / "neurolibre"
NOT_CONTENT = {"binder", "tests", ".ci", ".github"}
#: What makes the pages there, beside what Binder needs to run the chapters.
MAKES_PAGES = ("jupyter-book", "sphinx-mathjax-offline")
OFF, ON = 'execute_notebooks: "off"', "execute_notebooks: force\n  timeout: 600"
NOWHERE = "(affiliation to be named)"
README = """# {title}

The book in the layout of a NeuroLibre preprint, as `make neurolibre` writes it. `content` holds the chapters, the
module and its data, with a README of their own; `paper.md` is the summary, `binder` the environment. Edit the project,
not this copy.
"""


def write() -> Path:
    """Lay out `build/neurolibre` from the pages as they were staged last; returns that folder.

    Raises:
        BuildError: the book's configuration does not say where chapters are executed.
    """
    unfinished = FOLDER.with_name(f"{FOLDER.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    content(unfinished / "content")
    binder(unfinished / "binder")
    about = citation()
    (unfinished / "README.md").write_text(README.format(title=about["title"]), encoding="utf-8")
    (unfinished / "paper.md").write_text(summary(about), encoding="utf-8")
    shutil.copy(ROOT / "book" / "references.bib", unfinished / "paper.bib")
    shutil.copy(ROOT / "LICENSE", unfinished)
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished.rename(FOLDER)
    return FOLDER


def content(folder: Path) -> None:
    """The sources, the staged pages over them, and chapters without outputs, to be executed there.

    Raises:
        BuildError: the book's configuration does not say where chapters are executed.
    """
    for path in archive.sources():
        inside = path.relative_to(ROOT)
        if inside.parts[0] not in NOT_CONTENT and not path.is_symlink():
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / inside)
    shutil.copytree(pages.SITE, folder, dirs_exist_ok=True)
    for notebook in notebooks.chapters():
        staged = folder / notebook.relative_to(ROOT)
        page = json.loads(staged.read_text(encoding="utf-8"))
        for cell in notebooks.code_cells(page):
            cell["outputs"], cell["execution_count"] = [], None
        staged.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    config = (folder / "_config.yml").read_text(encoding="utf-8")
    if config.count(OFF) != 1:
        raise BuildError(f"_config.yml has no line {OFF}")
    line = next(line for line in config.splitlines() if OFF in line)
    (folder / "_config.yml").write_text(config.replace(line, f"  {ON}"), encoding="utf-8")


def binder(folder: Path) -> None:
    """Binder's files, with the packages that make pages, for a module that lies in `content`.

    The file that asks for image sets stays behind: the chapters need none, and NeuroLibre fetches from few hosts only.
    """
    folder.mkdir(parents=True)
    for name in ("runtime.txt", "postBuild"):
        shutil.copy(ROOT / "binder" / name, folder)
    wanted = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8")
    wanted = wanted.replace("../constraints.txt", "../content/constraints.txt")
    (folder / "requirements.txt").write_text(wanted + "".join(f"{name}\n" for name in MAKES_PAGES), encoding="utf-8")
    script = (folder / "postBuild").read_text(encoding="utf-8").replace("--editable .", "--editable content")
    (folder / "postBuild").write_text(script, encoding="utf-8")


def citation() -> dict[str, Any]:
    """What CITATION.cff says."""
    import yaml

    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def summary(about: dict[str, Any]) -> str:
    """The text of `paper.md`: its head from CITATION.cff, with the date of today, and the summary as it was written."""
    import yaml

    authors, places = people(about["authors"])
    head = {"title": about["title"], "tags": about["keywords"], "authors": authors, "affiliations": places}
    head |= {"date": f"{datetime.date.today():%-d %B %Y}", "bibliography": "paper.bib"}
    written = (ROOT / "book" / "archive" / "paper.md").read_text(encoding="utf-8")
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n{written}"


def people(given: list[dict[str, str]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Authors as CITATION.cff names them, in the form of such archives, and their affiliations by number."""
    places = list(dict.fromkeys(each.get("affiliation", NOWHERE) for each in given))
    authors = []
    for each in given:
        name = each.get("name") or f"{each['given-names']} {each['family-names']}"
        orcid = {"orcid": each["orcid"].rpartition("/")[2]} if "orcid" in each else {}
        authors.append({"name": name, **orcid, "affiliation": 1 + places.index(each.get("affiliation", NOWHERE))})
    return authors, [{"index": n, "name": place} for n, place in enumerate(places, 1)]
