"""Sentences with numbers: each stands on its page and holds, and a wrong one is named."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from istapp.basics.errors import UserError
from istapp.paper import claims

CLAIMS = claims.load()


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_the_sentence_stands_and_holds(claim):
    assert claims.fault(claim) == ""
    off = replace(claim, expected=claim.expected + 2 * claim.within + 1e-6)
    assert "no longer holds" in claims.fault(off), "another value would be refused"


def test_claims_are_told_apart_and_state_something():
    for claim in CLAIMS:
        assert 0 <= claim.within <= 0.05 * abs(claim.expected) + 1e-9 and any(c.isalnum() for c in claim.sentence)
    said = [(claim.page, claim.sentence, claim.expected, claim.id) for claim in CLAIMS]
    assert len(set(said)) == len(said)


def test_every_chapter_and_the_gallery_has_a_claim():
    pages = {Path(claim.page).stem for claim in CLAIMS}
    chapters = {path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert len(chapters) == 13 and chapters | {"gallery"} <= pages


def test_faults_name_page_claim_and_reason():
    claim = CLAIMS[0]
    gone = claims.fault(replace(claim, sentence="keep 110 numbers"))
    assert claim.page in gone and claim.id in gone and "no longer stands there" in gone
    assert "ZeroDivisionError" in claims.fault(replace(claim, compute=lambda: 1 / 0))
    assert "there is no page" in claims.fault(replace(claim, page="notebooks/99.ipynb"))
    assert "no longer holds" in claims.fault(replace(claim, compute=lambda: float("nan")))


def test_how_lines_are_broken_does_not_matter():
    claim = CLAIMS[0]
    assert claims.fault(replace(claim, sentence=claim.sentence.replace(" ", "\n  "))) == ""


def test_main_prints_faults_and_fails(monkeypatch, capsys):
    monkeypatch.setattr(claims, "load", lambda: CLAIMS[:2])
    assert claims.main() == 0 and capsys.readouterr().out == "2 claims hold\n"
    monkeypatch.setattr(claims, "load", lambda: [replace(CLAIMS[0], expected=-1)])
    assert claims.main() == 1 and CLAIMS[0].id in capsys.readouterr().out


def test_a_file_of_claims_says_its_page(tmp_path):
    with pytest.raises(UserError, match="no claims in"):
        claims.load(tmp_path)
    body = "from istapp.paper.claims import claim\n@claim('one', 1)\n@claim('all', page='x.md')\ndef f(): return 1\n"
    (tmp_path / "a.py").write_text(body)
    with pytest.raises(UserError, match="on which PAGE"):
        claims.load(tmp_path)
    (tmp_path / "a.py").write_text(f"PAGE = 'y.md'\n{body}")
    found = claims.load(tmp_path)
    assert [(c.id, c.page, c.sentence, c.expected) for c in found] == [
        ("a.f", "x.md", "all", 1), ("a.f", "y.md", "one", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("expected", "within"), [(math.nan, 0), (math.inf, 0), (1, math.nan), (1, math.inf), (1, -1)])
def test_a_claim_that_nothing_can_fail_is_refused(expected, within):
    with pytest.raises(UserError, match="'one' states no number"):
        claims.claim("one", expected, within)


#: Words that compare, and a figure in decibels.
COMPARES = re.compile(
    r"\b(ahead|behind|better|worse|best|worst|more|less|larger|smaller|largest|smallest|higher|lower|gains?|loses?|"
    r"beats?|fewer|most|least|twice|half|nearly|over|loss|lead)\b"
)
DECIBELS = re.compile(r"(?<![\w.{])(\d+(?:\.\d+)?)(?=[* ]* dB|\*\* dB)")
NO_PROSE = re.compile(r"(?ms)```.*?```|\$\$.*?\$\$|<details>.*?</details>|^(?:\||#|\*\*Exercise).*?$")


def unproved(page: str) -> list[str]:
    """The sentences of a notebook that compare in decibels with a figure that no claim and no assert of it has."""
    cells = json.loads((claims.ROOT / page).read_text(encoding="utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    proofs = " ".join(re.findall(r"^ *assert .*", "\n".join(s for kind, s in sources if kind == "code"), re.MULTILINE))
    claimed = [" ".join(claim.sentence.split()) for claim in CLAIMS if claim.page == page]
    prose = "\n\n".join(NO_PROSE.sub("", source) for kind, source in sources if kind == "markdown")
    found = []
    for sentence in re.split(r"(?<=[.!?:;]) (?=\S)|\n\n", re.sub(r"\n(?!\n)", " ", prose)):
        sentence = " ".join(sentence.split())
        figures = DECIBELS.findall(sentence) if COMPARES.search(sentence) else []
        if sentence.endswith("?") or any(claim in sentence or sentence in claim for claim in claimed):
            continue
        found += [sentence for figure in figures[:1] if not re.search(rf"(?<![\d.]){figure}(?![\d])", proofs)]
    return found


@pytest.mark.parametrize("page", sorted(path.name for path in (claims.ROOT / "notebooks").glob("*.ipynb")))
def test_a_comparison_in_decibels_is_a_claim_or_asserted(page):
    assert unproved(f"notebooks/{page}") == []


def test_a_comparison_that_nothing_proves_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    words = "It gains 1.5 dB. Is a lead of 3 dB a lead? This one is 2.25 dB ahead. It is at 4 dB.\n\n| more | 7 dB |"
    cells = [("markdown", words), ("code", "assert gain > 1.5")]
    text = json.dumps({"cells": [{"cell_type": kind, "source": [source]} for kind, source in cells]})
    (tmp_path / "trial.ipynb").write_text(text, encoding="utf-8")
    assert unproved("trial.ipynb") == ["This one is 2.25 dB ahead."]
