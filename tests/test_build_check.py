"""The HTML checks: a clean pair of pages passes, and each planted fault is found, alone and by name."""

import subprocess
from pathlib import Path

import pytest
from pipeline import check
from pipeline.check import claim_faults, ledger_faults

CLEAN = {
    "index.html": """<html><head><link rel="canonical" href="https://example.org/">
        <link rel="stylesheet" href="_static/style.css"><script src="_static/math.js"></script></head>
        <body><h1 id="top">One</h1><img src="_static/cat.png" alt="a cat on a wall">
        <a href="#top">up</a> <a href="chapters/two.html#end">the end</a> <a href="https://example.org/a">a paper</a>
        <a href="chapters/">folder</a> <a href="mailto:a@example.org">write</a> <a href="#">top</a></body></html>""",
    "chapters/two.html": """<html><body><p id="end">Two</p><a href="../index.html">back</a>
        <img src="../_static/cat.png" alt="the same cat, darker"></body></html>""",
    "chapters/index.html": "<html><body>chapters</body></html>",
    "_static/style.css": "body { background: url('cat.png'); }",
    "_static/math.js": "",
    "_static/cat.png": "",
    "_static/template.html": "<a href='{{ later }}'>not a page</a>",
}
SHARED = "two images share one alt text: a cat on a wall"
ELSEWHERE = "loads from another host"
PLANTED = [
    ("index.html", "_static/math.js", "https://cdn.example/math.js", f"{ELSEWHERE}: https://cdn.example/math.js"),
    ("index.html", "_static/math.js", "//cdn.example/math.js", f"{ELSEWHERE}: //cdn.example/math.js"),
    ("index.html", "_static/style.css", "http://cdn.example/a.css", f"{ELSEWHERE}: http://cdn.example/a.css"),
    ("index.html", 'src="_static/cat.png"', 'src="https://x.example/c.png"', f"{ELSEWHERE}: https://x.example/c.png"),
    ("chapters/two.html", "Two", '<iframe src="https://x.example/"></iframe>', f"{ELSEWHERE}: https://x.example/"),
    ("chapters/two.html", "Two", "<style>@import 'https://x.example/a';</style>", f"{ELSEWHERE}: https://x.example/a"),
    ("_static/style.css", "cat.png", "https://x.example/c.png", f"{ELSEWHERE}: https://x.example/c.png"),
    ("index.html", ' alt="a cat on a wall"', "", "no alt text: _static/cat.png"),
    ("index.html", "a cat on a wall", " ", "no alt text: _static/cat.png"),
    ("index.html", "a cat on a wall", "../_images/0a1b.png", "the alt text is a file path: ../_images/0a1b.png"),
    ("index.html", "a cat on a wall", "cat.PNG", "the alt text is a file path: cat.PNG"),
    ("index.html", "One", '<img src="_static/math.js" alt="a cat on a wall">', SHARED),
    ("index.html", "two.html", "three.html", "link to nowhere: chapters/three.html#end"),
    ("index.html", "#end", "#finish", "no such anchor: chapters/two.html#finish"),
    ("index.html", "#top", "#bottom", "no such anchor: #bottom"),
    ("index.html", "_static/math.js", "_static/maths.js", "link to nowhere: _static/maths.js"),
    ("chapters/two.html", "../_static/cat.png", "../_static/dog.png", "link to nowhere: ../_static/dog.png"),
]  # fmt: skip


def faults(folder: Path) -> list[str]:
    """All faults of the pages in a folder."""
    pages = check.parse(folder)
    return check.faults(folder, pages) + check.alt_faults(folder, pages)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The clean pages on disk."""
    for name, text in CLEAN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_clean_pages_pass(site):
    assert faults(site) == []


@pytest.mark.parametrize(("page", "old", "new", "fault"), PLANTED, ids=[fault for *_, fault in PLANTED])
def test_planted_fault_is_found(site, page, old, new, fault):
    text = (site / page).read_text(encoding="utf-8")
    assert old in text
    (site / page).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert faults(site) == [f"{page}: {fault}"]


def test_a_folder_without_pages_does_not_pass(tmp_path):
    assert faults(tmp_path) == [f"{tmp_path.name}: no page at all"]


@pytest.mark.parametrize(
    ("check", "command", "stored", "stream"),
    [
        (claim_faults, "claims", "book/claims/a.py", "stdout"),
        (ledger_faults, "ledger", "data/results/ledger.csv", "stderr"),
    ],
)
def test_what_a_command_of_the_module_finds_is_a_fault_of_the_pages(tmp_path, check, command, stored, stream):
    assert check(tmp_path) == []  # a book without claims or ledger
    file, package = tmp_path / stored, tmp_path / "istapp"
    file.parent.mkdir(parents=True)
    file.write_text("id\n")
    package.mkdir()
    (package / "__init__.py").write_text("")
    body = f"import sys\nassert sys.argv[1] == {command!r}\n"
    (package / "__main__.py").write_text(f"{body}print('a page: no longer holds', file=sys.{stream})\nsys.exit(1)\n")
    assert check(tmp_path) == ["a page: no longer holds"]
    (package / "__main__.py").write_text(f"{body}print('all is well')\n")
    assert check(tmp_path) == []


@pytest.mark.parametrize("ask", [claim_faults, ledger_faults])
def test_a_check_that_was_killed_is_a_fault(monkeypatch, tmp_path, ask):
    dead = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr("pipeline.check._asked", lambda *_: dead)
    (fault,) = ask(tmp_path)
    assert "-9" in fault
