"""Sphinx extension: what the text names becomes a link, and what it names in vain fails the build.

Chapters are plain Markdown, which JupyterLab, GitHub and Colab read as it stands. Their conventions are enough to know
what is meant:

========================================  ==============================================================================
``(2.3)``                                 the equation with ``\\tag{2.3}``
``chapter 05``, ``chapter 05, section 7``  a chapter, its heading that begins with ``7.``
``section 7``                             the same in this chapter
``Exercise 2.4``, ``Theorem 1``           the paragraph that begins with these words in bold; a theorem of this chapter
``Fig. 8.1``                              a figure of the book
``Beck and Teboulle, 2009``               a work of the bibliography, the first of its file if two have the same authors
========================================  ==============================================================================

``Fig. 4``, ``Table 1`` and ``Eq. 9``, without a dot, are the paper's own and no links. They exist as well, or the build
fails. In the comments of the code equations are links too. Code, mathematics, titles and links are left as they are.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinxcontrib.bibtex.domain import BibtexDomain

logger = logging.getLogger(__name__)

Key = tuple[str, ...]
Place = tuple[str, str]  # a document and an id in it; the id of a whole page is empty

#: How many figures, tables and equations the paper has.
PAPER = {"Fig": 7, "Table": 4, "Eq": 9}
STATEMENTS = ("Theorem", "Lemma", "Definition", "Proposition", "Corollary")
_STATEMENT = "|".join(STATEMENTS)
_LED = re.compile(rf"(Exercise) (\d+\.\d+)|({_STATEMENT}) (\d+)")
_TAG = re.compile(r"\\tag\{(\d+\.\d+)\}")
_NAME = r"(?:De )?[A-Z][\w'’-]+"
_MENTION = re.compile(
    rf"""
      (?P<equation>\([1-9]\d?\.\d{{1,2}}\))
    | [Cc]hapters?[ ](?P<chapter>\d\d)
    | (?<=hapters[ ]\d\d[ ]to[ ])(?P<last>\d\d) | (?<=hapters[ ]\d\d[ ]and[ ])(?P<other>\d\d)
    | [Ss]ection[ ](?P<section>\d+)\b
    | Exercise[ ](?P<exercise>\d+\.\d+)
    | (?P<statement>{_STATEMENT})s?[ ](?P<number>\d+)\b
    | (?<=heorems[ ]\d[ ]to[ ])(?P<theorem>\d)\b
    | (?:Fig\.|Figure)[ ](?P<figure>[A-Z\d]\d?\.\d+)
    | (?P<theirs>Fig|Table|Eq)(?:s?\.|ures?|s)?[ ](?P<count>\d+)\b
    | (?P<authors>{_NAME}(?:,[ ]{_NAME})*(?:[ ]and[ ](?:others|{_NAME})|[ ]et[ ]al\.)?)
      (?:,[ ](?P<year>(?:19|20)\d\d)\b|[ ]\((?P<dated>(?:19|20)\d\d)\))
    """,
    re.VERBOSE,
)
_SILENT = (
    nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.reference, nodes.raw, nodes.title,
    nodes.citation, nodes.term, addnodes.desc_signature, addnodes.index, addnodes.toctree,
)  # fmt: skip
_COMMENT = re.compile(r'<span class="c1">(.*?)</span>')
_CODE_EQUATION = re.compile(r"\(([1-9]\d?\.\d{1,2})\)")


def targets(env: BuildEnvironment) -> dict[Key, Place]:
    """What can be linked to: ("equation", "2.3"), ("section", document, "7"), ("theorem", document, "1") ..."""
    return vars(env).setdefault("book_targets", {})


def chapter_number(docname: str) -> str:
    """The two digits that a chapter's file begins with, or nothing."""
    found = re.fullmatch(r"notebooks/(\d\d)_\w+", docname)
    return found[1] if found else ""


def _first(node: nodes.Node) -> nodes.Node | None:
    """What a paragraph begins with; None for other nodes."""
    inside = node.children if isinstance(node, nodes.paragraph) else []
    return next((child for child in inside if child.astext()), None)


def led_by(node: nodes.Node) -> tuple[str, str]:
    """What a paragraph announces in its first bold words: ("exercise", "2.4"), ("theorem", "1"), or ("", "")."""
    first = _first(node)
    found = _LED.match(first.astext()) if isinstance(first, nodes.strong) else None
    return ((found[1] or found[3]).lower(), found[2] or found[4]) if found else ("", "")


def is_proof(node: nodes.Node) -> bool:
    """Whether a paragraph begins with the word *Proof*."""
    first = _first(node)
    return isinstance(first, nodes.emphasis) and first.astext().startswith("Proof")


def ends_proof(node: nodes.Node) -> bool:
    """Whether a paragraph has the black square that ends a proof."""
    return any(r"\blacksquare" in found.astext() for found in node.findall(nodes.math))


def box_statements(doctree: nodes.document) -> None:
    """Put each theorem, and each proof, with the formulas that belong to it, into a box of its own.

    A theorem ends where its proof begins; one whose proof stands elsewhere, and a definition, ends with its paragraph
    and the formula after it. A proof ends with a black square.
    """
    for first in [node for node in doctree.findall(nodes.paragraph) if led_by(node)[0] or is_proof(node)]:
        kind = led_by(first)[0] or "proof"
        if kind == "exercise":
            continue
        parent = first.parent
        start = parent.index(first)
        inside = parent.children[start : start + (_proof if kind == "proof" else _statement)(parent.children[start:])]
        for node in inside:
            parent.remove(node)
        box = nodes.container(classes=["statement", kind])
        box.extend(inside)
        parent.insert(start, box)


def _proof(rest: list[nodes.Node]) -> int:
    """How many of these nodes are the proof that begins with the first."""
    length = next((n for n, node in enumerate(rest, 1) if ends_proof(node)), 0)
    if not length:
        logger.warning("a proof without its end, $\\blacksquare$: %s", rest[0].astext()[:60], location=rest[0])
    return max(length, 1)


def _statement(rest: list[nodes.Node]) -> int:
    """How many of these nodes are the theorem or definition that begins with the first."""
    for length, node in enumerate(rest[1:], 1):
        if is_proof(node):
            return length
        if isinstance(node, (nodes.section, nodes.container)) or led_by(node)[0]:
            break
    return 2 if isinstance(rest[1] if rest[1:] else None, nodes.math_block) else 1


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Give every equation, exercise and theorem an id, and remember where each is."""
    docname, env = app.env.docname, app.env
    box_statements(doctree)
    found: list[tuple[Key, str]] = []
    for node in doctree.findall(nodes.math_block):
        for tag in _TAG.findall(node.astext()):
            found.append((("equation", tag), _named(node, f"equation-{tag}")))
    for node in doctree.findall(nodes.paragraph):
        kind, number = led_by(node)
        if kind:
            key = (kind, number) if kind == "exercise" else (kind, docname, number)
            found.append((key, _named(node, f"{kind}-{number}")))
    for node in doctree.findall(nodes.section):
        title = node.next_node(nodes.title)
        if title and (number := re.match(r"(\d+)\. ", title.astext())):
            found.append((("section", docname, number[1]), node["ids"][0]))
    if number := chapter_number(docname):
        found.append((("chapter", number), ""))
    for key, place in found:
        if key in targets(env):
            logger.warning("a second %s %s", key[0], key[-1], location=docname)
        targets(env)[key] = docname, place


def _named(node: nodes.Element, name: str) -> str:
    name = nodes.make_id(name)
    if name not in node["ids"]:
        node["ids"].append(name)
    return name


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what a page that is read anew had."""
    for key in [key for key, place in targets(env).items() if place[0] == docname]:
        del targets(env)[key]


def merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader found."""
    targets(env).update({key: place for key, place in targets(other).items() if place[0] in docnames})


def number(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number chapters by their files, and figures and tables by chapter; other pages go by their initial."""
    for docname in env.found_docs:
        own = chapter_number(docname)
        if own:
            numbers = env.toc_secnumbers[docname] = {"": (int(own),)}
            for entry in env.tocs[docname].findall(nodes.reference):
                if entry["anchorname"]:
                    numbers[entry["anchorname"]] = ()  # headings of a chapter carry their numbers themselves
                else:
                    entry["secnumber"] = (int(own),)
        prefix = int(own) if own else docname.rpartition("/")[2][0].upper()
        for kind, ids in env.toc_fignumbers.get(docname, {}).items():
            for n, name in enumerate(sorted(ids, key=ids.__getitem__), 1):
                ids[name] = prefix, n  # pyright: ignore[reportArgumentType]  # Sphinx writes whatever stands there
                targets(env)[kind, f"{prefix}.{n}"] = docname, name
    for work, place in works(env):
        targets(env).setdefault(("work", *work), place)
    return list(env.found_docs)


def works(env: BuildEnvironment) -> Iterator[tuple[tuple[str, ...], Place]]:
    """Surnames and year of each work of the bibliography, and where it stands; "others" for all but the first."""
    if "cite" not in env.domains:
        return
    domain = cast("BibtexDomain", env.get_domain("cite"))
    for key, bibliography in domain.bibliographies.items():
        for citation in domain.citations:
            if citation.bibliography_key != key or not citation.entry:
                continue
            entry = cast("Any", citation.entry)  # pybtex says more than its types do
            persons = entry.persons["author"]
            people = [" ".join(map(str, p.rich_prelast_names + p.rich_last_names)) for p in persons]
            place = key.docname, bibliography.citation_nodes[citation.key]["ids"][0]
            yield (*people, entry.fields["year"]), place
            yield (people[0], "others", entry.fields["year"]), place


def resolve(env: BuildEnvironment, docname: str, found: re.Match[str], chapter: str) -> tuple[Place | None, str]:
    """Where a mention leads, None where it must not lead anywhere; and in words why it cannot, or nothing."""
    named = {name: value for name, value in found.groupdict().items() if value}
    if theirs := named.get("theirs"):
        exists = 1 <= int(named["count"]) <= PAPER[theirs]
        return None, "" if exists else f"the paper has {PAPER[theirs]}; those of this book have a dot"
    if "authors" in named:
        people = re.split(r", | and ", named["authors"].replace("’", "'").replace(" et al.", " and others"))
        key: Key = ("work", *people, named.get("year") or named["dated"])
    elif "section" in named:
        key = ("section", chapter or docname, named["section"])
    elif "theorem" in named:
        key = ("theorem", docname, named["theorem"])
    elif "statement" in named:
        key = (named["statement"].lower(), docname, named["number"])
    else:
        kind = "chapter" if named.keys() & {"last", "other"} else next(iter(named))
        key = (kind, next(iter(named.values())).strip("()"))
    place = targets(env).get(key)
    return place, "" if place else f"no such {key[0]} in the book"


def relink(app: Sphinx, docname: str, text: nodes.Text) -> list[nodes.Node]:
    """The nodes that stand for a piece of text, its mentions linked; none where it has none."""
    said, parts, end, chapter = text.astext(), [], 0, _chapter_before(app.env, text)
    for found in _MENTION.finditer(said):
        beside = chapter if said[end : found.start()] in (", ", " (") else ""
        place, why = resolve(app.env, docname, found, beside)
        if why:
            logger.warning("“%s” leads nowhere: %s", found.group(), why, location=text.parent)
        chapter = place[0] if place and found["chapter"] else ""
        if place:
            parts.append(nodes.Text(said[end : found.start()]))
            uri = address(app, docname, place)
            parts.append(nodes.reference("", found.group(), internal=True, refuri=uri, classes=["mention"]))
            end = found.end()
    return [*parts, nodes.Text(said[end:])] if parts else []


def address(app: Sphinx, docname: str, place: Place) -> str:
    """The address of a place as a page writes it."""
    document, name = place
    page = "" if document == docname and name else app.builder.get_relative_uri(docname, document)
    return f"{page}#{name}" if name else page


def _chapter_before(env: BuildEnvironment, text: nodes.Text) -> str:
    """The document that a link just before the text names as its chapter."""
    siblings = text.parent.children
    before = siblings[siblings.index(text) - 1] if siblings.index(text) else None
    found = re.fullmatch(r"[Cc]hapter (\d\d)", before.astext()) if isinstance(before, nodes.reference) else None
    return targets(env).get(("chapter", found[1]), ("", ""))[0] if found else ""


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link what the text of a page names."""
    for text in list(doctree.findall(nodes.Text)):
        above, node = [], text.parent
        while node is not None:
            above.append(node)
            node = node.parent
        leads = text.parent is _first(text.parent.parent) and led_by(text.parent.parent)[0]
        if leads or any(isinstance(node, _SILENT) for node in above):
            continue
        if parts := relink(app, docname, text):
            text.parent.replace(text, parts)


def link_comments(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Link the equations that comments of the code name."""

    def linked(found: re.Match[str]) -> str:
        """The link that stands for a number in brackets; the number itself where no equation has it."""
        place = targets(app.env).get(("equation", found[1]))
        if not place:
            return found.group()
        return f'<a href="{address(app, page, place)}">{found.group()}</a>'

    if doctree is not None and "body" in context:
        whole = lambda comment: _CODE_EQUATION.sub(linked, comment.group())  # noqa: E731
        context["body"] = _COMMENT.sub(whole, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-get-updated", number, priority=900)  # after Sphinx has counted from one to a hundred
    app.connect("doctree-resolved", link, priority=900)  # after all others have made their references
    app.connect("html-page-context", link_comments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
