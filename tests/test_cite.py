"""BibTeX from CITATION.cff: read back by a parser of BibTeX it says what the file says."""

import pytest
import yaml
from books import ROOT
from extensions import cite
from pybtex.database import parse_string

WHOLE = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def parsed(work: dict) -> tuple:
    """The one entry of a work, as a program that cites reads it: key and entry."""
    ((key, entry),) = parse_string(cite.bibtex(work), "bibtex").entries.items()
    return key, entry


def test_the_book_is_one_author_whose_name_is_not_taken_apart() -> None:
    """A group is no person called "authors, The"."""
    _, entry = parsed(WHOLE)
    assert entry.original_type == "software"
    assert entry.fields["version"] == WHOLE["version"] and entry.fields["title"] == f"{{{WHOLE['title']}}}"
    assert [str(person) for person in entry.persons["author"]] == [f"{{{WHOLE['authors'][0]['name']}}}"]
    assert "year" not in entry.fields and "url" not in entry.fields  # as long as the file has neither


def test_an_address_and_a_date_are_taken_along() -> None:
    """What `make address` and a release write into the file."""
    key, entry = parsed(WHOLE | {"repository-code": "https://github.com/a/b", "date-released": "2031-02-03"})
    assert entry.fields["url"] == "https://github.com/a/b" and entry.fields["year"] == "2031" and key.endswith("2031")


def test_the_paper_is_cited_with_doi_and_preprint() -> None:
    """Its authors are three, by family names."""
    (work,) = WHOLE["references"]
    key, entry = parsed(work)
    assert (key, entry.original_type) == ("you2021", "inproceedings")
    assert entry.fields["doi"] == work["doi"] and entry.fields["eprint"] == "2103.11554"
    assert entry.fields["booktitle"] == work["collection-title"] and entry.fields["year"] == "2021"
    assert [person.last_names for person in entry.persons["author"]] == [["You"], ["Xie"], ["Zhang"]]


@pytest.mark.parametrize(("text", "tex"), [("R&D: 5 % of $1_0#", r"R\&D: 5 \% of \$1\_0\#"), ("{a}", r"\{a\}")])
def test_letters_that_tex_takes_for_commands_stay_letters(text: str, tex: str) -> None:
    """In titles, and the entry can still be read."""
    assert cite.escaped(text) == tex
    assert parsed(WHOLE | {"title": text.replace("{a}", "a")})


def test_a_work_without_authors_is_refused() -> None:
    """Rather than cited as nobody's."""
    with pytest.raises(KeyError, match="authors"):
        cite.bibtex({"type": "software", "title": "nobody's"})
