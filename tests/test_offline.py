"""Mathematics and a search that work from a disk."""

import json
from types import SimpleNamespace

import pytest
from docutils import nodes
from sphinx import addnodes

offline = pytest.importorskip("extensions.offline")


def page() -> nodes.document:
    """A page of two sections, one in the other."""
    outer, inner = nodes.section(ids=["top"]), nodes.section(ids=["inner"])
    outer += [nodes.title("", "A page"), nodes.paragraph("", "", nodes.Text("One "), nodes.strong("", "bold"))]
    outer += [nodes.literal_block("", "code()"), nodes.math_block("", "x=y"), inner]
    inner += [nodes.title("", "More"), nodes.paragraph("", "two")]
    document = nodes.document(None, None)
    document += outer
    return document


def script(name: str | None, **attributes: str) -> SimpleNamespace:
    """A script as Sphinx keeps it."""
    return SimpleNamespace(filename=name, attributes=attributes)


def test_excerpts_are_the_words_of_each_section():
    env = SimpleNamespace(found_docs={"b"}, get_doctree=lambda name: page())
    assert offline.excerpts(env) == {"b": [("top", "A page One bold"), ("inner", "More two")]}


def test_terms_and_documented_names_have_excerpts_of_their_own():
    """The search finds them by ids that are no sections'; their words are those of the explanation, too."""
    meaning, zeros = (nodes.paragraph("", text) for text in ("half a step", "zeros"))
    item = nodes.definition_list_item("", nodes.term("", "prox", ids=["term-prox"]), nodes.definition("", meaning))
    name = addnodes.desc("", addnodes.desc_signature("", "pad()", ids=["istapp.pad"]), addnodes.desc_content("", zeros))
    formula = nodes.math("", "\\operatorname{sign}(v)\\,\\theta")
    place = nodes.paragraph("", "", nodes.Text("Here "), formula, ids=["term-sign"])
    document = nodes.document(None, None)
    document += [nodes.section("", nodes.title("", "A page"), item, name, place, ids=["top"])]
    env = SimpleNamespace(found_docs={"b"}, get_doctree=lambda _: document)
    found = dict(offline.excerpts(env)["b"])
    assert found["term-prox"] == "prox half a step" and found["istapp.pad"] == "pad() zeros"
    assert found["term-sign"] == "Here sign(v)theta"


def test_search_page_gets_the_excerpts_and_no_page_an_unused_service(tmp_path):
    env = SimpleNamespace(found_docs={"b"}, get_doctree=lambda name: page())
    added = []
    app = SimpleNamespace(outdir=tmp_path, env=env, add_js_file=added.append)
    own, service = script("book.js"), script(None, body='const THEBE_JS_URL = "https://example.org"')
    for name, expected in (("b", []), ("search", ["excerpts.js"])):
        context = {"script_files": [own, service, script("sphinx-thebe.js")]}
        offline.scripts(app, name, "page.html", context, None)
        assert context["script_files"] == [own] and added == expected
    kept, answer = (tmp_path / "_static" / "excerpts.js").read_text(encoding="utf-8").split(";\n", 1)
    assert json.loads(kept.removeprefix("const EXCERPTS = "))["b"][1] == ["inner", "More two"]
    assert 'location.protocol === "file:"' in answer


def test_formulas_are_no_stops_of_the_tab_key(tmp_path):
    config = SimpleNamespace(mathjax3_config=None, mathjax_path="")
    offline.configure(SimpleNamespace(srcdir=tmp_path), config)
    assert config.mathjax3_config["options"]["enableMenu"] is False
