"""The glossary explains each word once, and the index finds the words in the chapters."""

from pathlib import Path

import pytest
from docutils import nodes

terms = pytest.importorskip("extensions.terms")
GLOSSARY = (Path(__file__).resolve().parents[1] / terms.GLOSSARY).read_text(encoding="utf-8")


def test_every_term_is_explained_once_and_in_order():
    known = terms.terms(GLOSSARY)
    assert len(known) > 30 and len({term.lower() for term in known}) == len(known)
    assert known == sorted(known, key=str.lower)
    assert GLOSSARY.count("\n\n", GLOSSARY.index("{glossary}")) == len(known)


def test_first_paragraph_with_a_term_is_its_place():
    document = nodes.document(None, None)
    said = ["Nothing here.", "Two Soft-thresholds.", "A soft threshold and a prior."]
    document += [nodes.paragraph("", "", nodes.Text(text)) for text in said]
    document += nodes.paragraph("", "", nodes.literal("", "stage"), nodes.Text(" of code, backstage"))
    found = terms.places(document, ["soft threshold", "prior", "stage", "ledger"])
    assert {term: paragraph.astext() for term, paragraph in found.items()} == {
        "soft threshold": said[1],
        "prior": said[2],
    }
