"""What the text names becomes a link, what it names in vain is told, and the paper's own numbers are left alone."""

from types import SimpleNamespace

import pytest
from docutils import nodes

links = pytest.importorskip("extensions.links")
HERE, THERE = "notebooks/02_here", "notebooks/05_there"
TARGETS = {
    ("equation", "2.3"): (HERE, "equation-2-3"),
    ("equation", "5.1"): (THERE, "equation-5-1"),
    ("chapter", "02"): (HERE, ""),
    ("chapter", "05"): (THERE, ""),
    ("section", HERE, "7"): (HERE, "at-home"),
    ("section", THERE, "7"): (THERE, "abroad"),
    ("exercise", "5.2"): (THERE, "exercise-5-2"),
    ("theorem", HERE, "1"): (HERE, "theorem-1"),
    ("theorem", HERE, "2"): (HERE, "theorem-2"),
    ("figure", "5.4"): (THERE, "fig-four"),
    ("figure", "G.1"): (THERE, "fig-gallery"),
    ("work", "Beck", "Teboulle", "2009"): ("book/bibliography", "id1"),
    ("work", "Wang", "others", "2004"): ("book/bibliography", "id2"),
    ("work", "O'Donoghue", "Candès", "2015"): ("book/bibliography", "id3"),
}
LED = [
    ("By (2.3) it falls.", {"(2.3)": "#equation-2-3"}),
    ("See (5.1), then (2.3).", {"(5.1)": "05_there.html#equation-5-1", "(2.3)": "#equation-2-3"}),
    ("as chapter 05 shows", {"chapter 05": "05_there.html"}),
    ("Chapters 02 to 05 tell", {"Chapters 02": "02_here.html", "05": "05_there.html"}),
    ("chapter 05, section 7", {"chapter 05": "05_there.html", "section 7": "05_there.html#abroad"}),
    ("of section 7", {"section 7": "#at-home"}),
    ("in Exercise 5.2.", {"Exercise 5.2": "05_there.html#exercise-5-2"}),
    ("by Theorem 1", {"Theorem 1": "#theorem-1"}),
    ("Theorems 1 to 2 hold", {"Theorems 1": "#theorem-1", "2": "#theorem-2"}),
    ("Fig. 5.4 and Figure G.1", {"Fig. 5.4": "05_there.html#fig-four", "Figure G.1": "05_there.html#fig-gallery"}),
    ("(Beck and Teboulle, 2009)", {"Beck and Teboulle, 2009": "../book/bibliography.html#id1"}),
    ("(SSIM; Wang and others, 2004)", {"Wang and others, 2004": "../book/bibliography.html#id2"}),
    ("O’Donoghue and Candès (2015)", {"O’Donoghue and Candès (2015)": "../book/bibliography.html#id3"}),
    ("the paper's Fig. 4, Figs. 5 and 7, Table 1, Eq. 9", {}),
    ("a ratio (0.1) of 2.3 and (12) others in 2009", {}),
]
LOST = [
    "(2.99)",
    "chapter 77",
    "section 8",
    "Exercise 5.9",
    "Theorem 4",
    "Fig. 5.9",
    "Fig. 9",
    "Table 5",
    "Moreau, 1965",
]


@pytest.fixture
def app():
    """As much of Sphinx as the extension asks for: addresses, and what has been found on the pages."""

    def relative(here: str, there: str) -> str:
        folder, name = there.split("/")
        return f"{name}.html" if here.startswith(folder) else f"../{folder}/{name}.html"

    env = SimpleNamespace(book_targets=dict(TARGETS))
    return SimpleNamespace(env=env, builder=SimpleNamespace(get_relative_uri=relative))


@pytest.fixture
def said(monkeypatch):
    """The warnings, each of which fails a build."""
    warnings = []
    monkeypatch.setattr(links.logger, "warning", lambda text, *given, location: warnings.append(text % given))
    return warnings


def page(*inside: nodes.Node) -> nodes.document:
    """A page of one paragraph."""
    document = nodes.document(None, None)
    document += nodes.paragraph("", "", *inside)
    return document


def made(document: nodes.document) -> dict[str, str]:
    """The links of a page: what each says, and where it leads."""
    return {link.astext(): link["refuri"] for link in document.findall(nodes.reference) if "refuri" in link}


@pytest.mark.parametrize(("text", "expected"), LED, ids=[text for text, _ in LED])
def test_what_is_named_is_linked(app, said, text, expected):
    document = page(nodes.Text(text))
    links.link(app, document, HERE)
    assert made(document) == expected
    assert document.astext() == text and not said


@pytest.mark.parametrize("text", LOST)
def test_what_is_named_in_vain_is_told(app, said, text):
    document = page(nodes.Text(f"As {text} says."))
    links.link(app, document, HERE)
    assert not made(document)
    assert len(said) == 1 and said[0].startswith(f"“{text}” leads nowhere")


@pytest.mark.parametrize("kind", [nodes.literal, nodes.math, nodes.reference, nodes.title])
def test_code_mathematics_links_and_titles_stay_as_they_are(app, said, kind):
    document = page(kind("", "", nodes.Text("(2.3) and chapter 77")))
    links.link(app, document, HERE)
    assert not made(document) and not said


def test_a_link_to_a_chapter_tells_where_the_section_is(app, said):
    document = page(nodes.reference("", "chapter 05", refid="x"), nodes.Text(", section 7"))
    links.link(app, document, HERE)
    assert made(document) == {"section 7": "05_there.html#abroad"}


def test_an_exercise_does_not_link_to_itself(app, said):
    document = page(nodes.Text(""), nodes.strong("", "Exercise 5.2 (recall)."), nodes.Text(" See (2.3)."))
    links.link(app, document, HERE)
    assert made(document) == {"(2.3)": "#equation-2-3"}


def sentence(lead: nodes.Node, *more: nodes.Node) -> nodes.paragraph:
    """A paragraph with a lead-in."""
    return nodes.paragraph("", "", lead, nodes.Text(" words "), *more)


def test_a_theorem_its_formula_and_its_proof_stand_in_boxes(said):
    document = nodes.document(None, None)
    square = nodes.math("", r"\blacksquare")
    document += [
        sentence(nodes.strong("", "Theorem 1 (descent).")), nodes.math_block("", "a"), nodes.paragraph("", "so"),
        sentence(nodes.emphasis("", "Proof.")), nodes.math_block("", "b"), sentence(nodes.Text("thus"), square),
        nodes.paragraph("", "outside"),
        sentence(nodes.strong("", "Definition 1.")), nodes.math_block("", "c"), nodes.paragraph("", "outside"),
    ]  # fmt: skip
    links.box_statements(document)
    boxes = [(box["classes"], len(box)) for box in document.findall(nodes.container)]
    assert boxes == [(["statement", "theorem"], 3), (["statement", "proof"], 3), (["statement", "definition"], 2)]
    assert [child.astext() for child in document if isinstance(child, nodes.paragraph)] == ["outside", "outside"]
    assert not said


def test_a_proof_without_its_end_is_told(said):
    document = nodes.document(None, None)
    document += [sentence(nodes.emphasis("", "Proof.")), nodes.paragraph("", "and so on")]
    links.box_statements(document)
    assert len(said) == 1 and "a proof without its end" in said[0]


def test_chapters_are_numbered_by_their_files_and_figures_by_chapter():
    entries = {name: [nodes.reference(anchorname=a) for a in ("", "#more")] for name in (THERE, "notebooks/gallery")}
    contents = {name: nodes.bullet_list("", *inside) for name, inside in entries.items()}
    figures = {THERE: {"figure": {"b": (12,), "a": (11,)}}, "notebooks/gallery": {"figure": {"z": (13,)}}}
    env = SimpleNamespace(
        found_docs=list(contents), tocs=contents, toc_secnumbers={}, toc_fignumbers=figures, domains={}
    )
    links.number(None, env)
    assert env.toc_secnumbers == {THERE: {"": (5,), "#more": ()}}
    assert [entry.get("secnumber") for entry in entries[THERE]] == [(5,), None]
    assert figures == {THERE: {"figure": {"a": (5, 1), "b": (5, 2)}}, "notebooks/gallery": {"figure": {"z": ("G", 1)}}}
    assert links.targets(env)["figure", "G.1"] == ("notebooks/gallery", "z")


def test_comments_of_the_code_link_their_equations(app):
    body = '<span class="c1"># (2.3), not (2.99)</span> <span class="mi">(5.1)</span>'
    context = {"body": body}
    links.link_comments(app, HERE, "page.html", context, nodes.document(None, None))
    assert context["body"] == body.replace("(2.3)", '<a href="#equation-2-3">(2.3)</a>')
