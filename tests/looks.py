"""What a browser finds wrong with a page of a built book: each look returns faults, in words."""

import json
from pathlib import Path

from browser import Browser
from pipeline import npm

INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
AXE = ("axe-core", "4.14.1", INTEGRITY)
KEPT = npm.CACHE / f"{AXE[0]}-{AXE[1]}.js"
WIDE, NARROW = 1300, 380  # pixels: a window beside others, a small telephone
DARK = {"prefers_color_scheme": "dark"}

#: Formulas that are still TeX, and formulas that MathJax refused.
UNSET = """[...document.querySelectorAll(".math")].filter((each) => !each.querySelector("mjx-container")
    || each.querySelector("[data-mjx-error]")).map((each) => each.textContent.trim().slice(0, 60))"""
#: Pictures that are drawn otherwise than their files are.
FILTERED = """[...document.querySelectorAll("img, canvas, video, svg:not(mjx-container svg)")].filter((each) => {
    for (let at = each; at; at = at.parentElement)
        if (!["none", ""].includes(getComputedStyle(at).filter)) return true;
}).map((each) => each.alt || each.ariaLabel || each.outerHTML.slice(0, 60))"""
#: What stands out at the right of the screen, where nothing scrolls that holds it; a page that can be pushed aside.
OUTSIDE = """(() => {
    const width = document.documentElement.clientWidth, held = (each) => {
        for (let at = each.parentElement; at && at !== document.body; at = at.parentElement)
            if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return true;
    };
    // (the words of a formula for those who hear it are hidden in a box of its own)
    const cut = (each) => getComputedStyle(each).overflowX === "hidden" && each.scrollWidth > each.clientWidth + 1
        && each.clientWidth > 1 && each.textContent.trim() && !each.classList.contains("math");
    const found = [...document.querySelectorAll("main *, footer *")].filter((each) => each.checkVisibility()
        && !each.closest("svg, mjx-assistive-mml, .visually-hidden, select, .bd-sidebar-secondary")
        && (each.getBoundingClientRect().right > width + 1 || cut(each)) && !held(each));
    const named = (each) => `<${each.localName} class="${each.className}"> ${each.textContent.trim().slice(0, 50)}`;
    const whole = document.documentElement.scrollWidth;
    return [...(whole > width ? [`the page is ${whole} pixels wide`] : []), ...found.slice(0, 5).map(named)];
})()"""
#: What begins left of the screen and reaches into it: nothing brings the rest of it back.
CUT = """[...document.querySelectorAll("main *, footer *")].filter((each) => {
    const {left, right, width} = each.getBoundingClientRect();
    return left < -1 && right > 1 && width > 1 && each.textContent.trim() && each.checkVisibility()
        && !each.closest("svg, mjx-container, .visually-hidden, .bd-sidebar-secondary, .bd-sidebar-primary");
}).slice(0, 5).map((each) => `<${each.localName} class="${each.className}"> ${each.textContent.trim().slice(0, 50)}`)"""
#: One control of each kind that looks with the keyboard's focus as it looks without it.
UNSEEN = """(() => {
    const kinds = new Map(), looks = (each) => ["outlineStyle", "outlineWidth", "outlineColor", "boxShadow",
        "borderColor", "backgroundColor", "color", "textDecoration"].map((name) => getComputedStyle(each)[name]).join();
    for (const each of document.querySelectorAll("a[href], button, input, select, summary, textarea"))
        if (each.checkVisibility() && !each.disabled && !each.closest("mjx-container"))
            kinds.set(`${each.localName} ${each.className} ${each.parentElement.className}`, each);
    document.activeElement.blur();
    const same = [...kinds.values()].filter((each) => {
        const before = looks(each);
        each.focus({focusVisible: true, preventScroll: true});
        const after = document.activeElement === each ? looks(each) : "no stop of the keyboard";
        each.blur();
        return before === after;
    });
    return same.map((each) => `<${each.localName} class="${each.className}"> ${each.textContent.trim().slice(0, 50)}`);
})()"""
#: Colours and bars at the sides change at once: half way they are no fault of the page.
STILL = """document.head.insertAdjacentHTML("beforeend",
    "<style>* { animation: none !important; transition: none !important }</style>")"""
#: axe goes over every element but those of which formulas are drawn: a reader of the screen gets these in words.
SERIOUS = """axe.run({exclude: [["mjx-container"]]},
    {resultTypes: ["violations"], elementRef: false, %s}).then(({violations}) => violations
    .filter((each) => ["serious", "critical"].includes(each.impact)).map((each) =>
        `${each.id} (${each.nodes.length}): ${each.help}; ${each.nodes[0].html.slice(0, 160)}`
        + ` at ${each.nodes[0].target}`))"""


def axe() -> str | None:
    """The script axe-core, fetched once; None where it cannot be had."""
    if not KEPT.exists():
        try:
            (script,) = npm.fetched(*AXE, ("package/axe.min.js",))
        except npm.Unavailable:
            return None
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_bytes(script)
    return KEPT.read_text(encoding="utf-8")


def settled(tab: Browser) -> None:
    """Wait until the formulas of the page are there and fitted."""
    tab.wait("!document.querySelector('.math') || document.documentElement.dataset.equations", 60)


def visit(tab: Browser, page: Path) -> list[str]:
    """Open a page in the light on a wide screen; what it asks of others, complains about, or leaves as TeX."""
    tab.media(prefers_color_scheme="light")
    tab.screen(WIDE, 900)
    tab.open(page)
    tab.value(STILL)
    settled(tab)
    found = [f"asks another host: {url}" for url in tab.requests() if not url.startswith("file:")]
    found += [f"complains: {said}" for said in complaints(tab)]
    return found + [f"is not typeset: {formula}" for formula in tab.value(UNSET)]


def complaints(tab: Browser) -> list[str]:
    """Errors and warnings of the console."""
    said = [e["params"] for e in tab.events if e["method"] == "Runtime.consoleAPICalled"]
    return tab.errors() + [json.dumps(each["args"]) for each in said if each["type"] in ("error", "warning", "assert")]


def in_the_dark(tab: Browser) -> list[str]:
    """Turn the light off; pictures that are filtered then."""
    tab.media(**DARK)
    tab.wait("document.documentElement.dataset.theme === 'dark'")
    return [f"is filtered in the dark: {picture}" for picture in tab.value(FILTERED)]


def on_a_telephone(tab: Browser) -> list[str]:
    """Make the screen narrow; what stands out of it."""
    tab.screen(NARROW, 800)
    tab.wait(f"!document.querySelector('.math') || document.documentElement.dataset.fittedTo == {NARROW}", 60)
    for _ in range(5):  # a long page may come to rest a moment later
        if not (found := tab.value(OUTSIDE)):
            break
        tab.value("new Promise((done) => setTimeout(done, 300))")
    cut = [f"is cut at the left of {NARROW} pixels: {part}" for part in tab.value(CUT)]
    return [f"overflows at {NARROW} pixels: {part}" for part in found] + cut


def serious(tab: Browser, script: str, *rules: str) -> list[str]:
    """Serious and critical faults by axe-core, of some rules or of all."""
    tab.value(f"{script}; null")
    only = f'runOnly: {{type: "rule", values: {json.dumps(rules)}}}' if rules else ""
    for _ in range(4):  # the frame's scripts draw icons and name buttons a moment after the page is there
        if not (found := tab.value(SERIOUS % only)):
            break
        tab.value("new Promise((done) => setTimeout(done, 500))")
    return [f"axe: {fault}" for fault in found]


def faults(tab: Browser, page: Path, script: str | None) -> list[str]:
    """Every fault of a page, in light and dark, wide and narrow, that is there however often one looks.

    On a busy machine the frame's scripts may still be at work when a look is taken; what is not there in the second or
    third is theirs.
    """
    found = _seen_once(tab, page, script)
    for _ in range(2):
        found = found and _seen_once(tab, page, script)
    return found


def _seen_once(tab: Browser, page: Path, script: str | None) -> list[str]:
    found = visit(tab, page)
    found += serious(tab, script) if script else []
    found += [f"hides the focus: {part}" for part in tab.value(UNSEEN)]  # after axe: what has the focus shows its tip
    found += in_the_dark(tab)
    found += serious(tab, script, "color-contrast") if script else []
    return found + on_a_telephone(tab)
