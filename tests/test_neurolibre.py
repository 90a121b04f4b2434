"""The layout that NeuroLibre asks for: a book in `content` that its own builder makes, a summary, an environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from books import ROOT, build, environment
from pipeline import keys, neurolibre

pytestmark = pytest.mark.xdist_group("build")


@pytest.fixture(scope="module")
def laid_out(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small book with what such a repository needs besides, laid out."""
    book = Path(shutil.copytree(built, tmp_path_factory.mktemp("neurolibre") / "trial"))
    shutil.copytree(ROOT / "binder", book / "binder")
    for name in ("LICENSE", "requirements.txt"):
        shutil.copy(ROOT / name, book)
    (book / "runs").mkdir()
    (book / "runs" / "state.pt").write_text("unfinished")
    done = build(book, "neurolibre")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("make neurolibre: ")
    return book / "build" / "neurolibre"


def front_matter(page: Path) -> dict:
    """What stands above the text of the summary."""
    return yaml.safe_load(page.read_text(encoding="utf-8").split("---\n")[1])


def test_its_top_is_what_is_asked_for(laid_out: Path) -> None:
    """No folder `data` among it: there the images of the host come to lie, over whatever was there."""
    names = {path.name for path in laid_out.iterdir()}
    assert names == {"README.md", "LICENSE", "binder", "content", "paper.md", "paper.bib"}
    inside = {path.relative_to(laid_out / "content").as_posix() for path in (laid_out / "content").rglob("*")}
    assert {"_toc.yml", "_config.yml", "notebooks/01_trial.ipynb", "istapp/words.py", "data/words.txt"} <= inside
    assert not [name for name in inside if re.search(r"^(runs|build|tests|binder)\b|pycache", name)]


def test_its_chapters_are_to_be_executed_there(laid_out: Path) -> None:
    """By no output of ours, and with time for the slowest cell."""
    config = yaml.safe_load((laid_out / "content" / "_config.yml").read_text(encoding="utf-8"))
    assert config["execute"] == {"execute_notebooks": "force", "timeout": 600}
    for chapter in (laid_out / "content").rglob("*.ipynb"):
        assert '"output_type"' not in chapter.read_text(encoding="utf-8")


def test_jupyter_book_makes_it_and_computes_it_anew(laid_out: Path, tmp_path: Path) -> None:
    """With the words that the module and the data have there, and not those of the book that it was made from."""
    copy = Path(shutil.copytree(laid_out, tmp_path / "clone"))
    (copy / "content" / "data" / "words.txt").write_text("forty-three")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", copy / "content"]
    ours = environment(PYTHONPATH=str(copy / "content"))
    done = subprocess.run(command, capture_output=True, text=True, env=ours)
    assert done.returncode == 0, done.stderr
    page = (copy / "content" / "_build" / "html" / "notebooks" / "01_trial.html").read_text(encoding="utf-8")
    assert "laptop 41.96 forty-three" in page


def test_the_summary_names_title_authors_and_works(laid_out: Path) -> None:
    """From CITATION.cff; every work that it cites is in the bibliography beside it."""
    head = front_matter(laid_out / "paper.md")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert head["title"] == citation["title"] and head["tags"] == citation["keywords"]
    assert [each["name"] for each in head["authors"]] == [each["name"] for each in citation["authors"]]
    assert {each["affiliation"] for each in head["authors"]} == {each["index"] for each in head["affiliations"]}
    assert re.fullmatch(r"\d\d? [A-Z][a-z]+ \d{4}", head["date"]) and head["bibliography"] == "paper.bib"
    cited = set(re.findall(r"@(\w+)", (laid_out / "paper.md").read_text(encoding="utf-8").split("---\n")[2]))
    works = set(re.findall(r"^@\w+\{(\w+),", (laid_out / "paper.bib").read_text(encoding="utf-8"), re.M))
    assert {"you2021", "beck2009"} <= cited <= works


def test_authors_are_named_as_people_and_as_groups() -> None:
    """With an ORCID as such archives write it, and an affiliation for each, one number for one place."""
    people = [
        {"given-names": "Ada", "family-names": "Byron", "orcid": "https://orcid.org/0000-0001", "affiliation": "Here"},
        {"name": "The others"},
        {"given-names": "Mary", "family-names": "Somerville", "affiliation": "Here"},
    ]
    authors, places = neurolibre.people(people)
    assert authors[0] == {"name": "Ada Byron", "orcid": "0000-0001", "affiliation": 1}
    assert [each["affiliation"] for each in authors] == [1, 2, 1] and "orcid" not in authors[1]
    assert places == [{"index": 1, "name": "Here"}, {"index": 2, "name": neurolibre.NOWHERE}]


def test_its_environment_has_what_makes_the_book(laid_out: Path) -> None:
    """All of Binder's packages and those of the pages, each pinned; the module comes from `content`."""
    binder = laid_out / "binder"
    text = (binder / "requirements.txt").read_text(encoding="utf-8")
    wanted = {line.lower() for line in text.splitlines() if re.match("[A-Za-z]", line)}
    assert {"torch", "matplotlib", "jupyter-book", "sphinx-mathjax-offline"} <= wanted <= keys.pins().keys()
    (pins,) = re.findall(r"^-c (\S+)$", text, re.M)
    assert (binder / pins).resolve() == (laid_out / "content" / "constraints.txt").resolve()
    script = binder / "postBuild"
    assert os.access(script, os.X_OK) and script.read_text().splitlines()[-1].endswith("--editable content")


def test_stale_chapters_are_not_laid_out(laid_out: Path, tmp_path: Path) -> None:
    """What is handed over is a book that could be published."""
    book = Path(shutil.copytree(laid_out.parents[1], tmp_path / "trial"))
    shutil.rmtree(book / "build" / "neurolibre")
    (book / "data" / "words.txt").write_text("forty-three")
    done = build(book, "neurolibre")
    assert done.returncode == 1 and "is stale" in done.stderr
    assert not (book / "build" / "neurolibre").exists()
