"""Long formulas are broken where a reader would break them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "book" / "static" / "equations.js"
NODE = shutil.which("node")
CASES = [
    # a formula, and its lines at each of the three levels
    (r"a=b+c,\qquad d=e", [["a=b+c,", "d=e"], ["a", "=b+c,", "d", "=e"], ["a", "=b", "+c,", "d", "=e"]]),
    (r"\|u-x^+\|^2\ \le\ f(a-b)", [[], [r"\|u-x^+\|^2", r"\le\ f(a-b)"], [r"\|u-x^+\|^2", r"\le\ f(a-b)"]]),
    (r"x=-\frac{a=b}{c}", [[], ["x", r"=-\frac{a=b}{c}"], ["x", r"=-\frac{a=b}{c}"]]),
    (
        r"\begin{aligned}a&=b+c\cr d&=e\end{aligned}",
        [["a=b+c", "d=e"], ["a", "=b+c", "d", "=e"], ["a", "=b", "+c", "d", "=e"]],
    ),
    (r"\begin{cases}a=b&\text{if }c\cr d\end{cases}", [[], [], []]),
]


@pytest.mark.skipif(NODE is None, reason="node is not installed; a browser runs the script")
@pytest.mark.parametrize(("formula", "expected"), CASES, ids=[formula for formula, _ in CASES])
def test_formulas_break_at_spaces_then_relations_then_signs(formula, expected):
    text = SCRIPT.read_text(encoding="utf-8")
    inner = text[text.index("const LEVELS") : text.index("function fit(")]
    tagged = formula + r"\tag{1.1}"
    call = f"{inner}; console.log(JSON.stringify([1, 2, 3].map((level) => broken({json.dumps(tagged)}, level))))"
    done = subprocess.run([str(NODE), "-e", call], capture_output=True, text=True, check=True)
    for found, lines in zip(json.loads(done.stdout), expected, strict=True):
        joined = r"\\[0.4em]".join(lines)
        assert found == (rf"\begin{{gathered}}{joined}\end{{gathered}}\tag{{1.1}}" if lines else tagged)
