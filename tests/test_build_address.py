"""`make address` writes one address everywhere, again and again, and takes no other kind of address."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

URL = "https://github.com/someone/a-book"


def write(checkout: Path, url: str) -> subprocess.CompletedProcess:
    """Run the command in a copy of the checkout."""
    return subprocess.run(
        [sys.executable, "book/build.py", "address", url], cwd=checkout, capture_output=True, text=True
    )


def texts(checkout: Path) -> dict[str, str]:
    """Every text file of the copy."""
    names = ["_config.yml", "README.md", "CITATION.cff", "book/setup_cell.py"]
    paths = [checkout / name for name in names] + sorted((checkout / "notebooks").glob("*.ipynb"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_address_is_written_everywhere_and_once(checkout):
    done = write(checkout, URL)
    assert done.returncode == 0, done.stderr
    first = texts(checkout)
    for name, text in first.items():
        assert URL in text, name
    assert 'colab_url: "https://colab.research.google.com"' in first["_config.yml"]
    assert re.search(r"^  use_issues_button: true", first["_config.yml"], re.M)
    assert re.search(rf'^repository-code: "{URL}"$', first["CITATION.cff"], re.M)
    assert first["README.md"].startswith("# ") and first["README.md"].count("badge.svg") == 2
    opened = re.search(r"blob/main/(\S+?)\)", first["README.md"])[1]
    assert (checkout / opened).exists()
    write(checkout, URL + ".git/")
    assert texts(checkout) == first


def test_address_moves(checkout):
    write(checkout, URL)
    once = texts(checkout)
    other = "https://github.com/other/fork"
    write(checkout, other)
    assert texts(checkout) == {
        name: text.replace(URL, other).replace("someone/a-book", "other/fork") for name, text in once.items()
    }


@pytest.mark.parametrize(
    "url",
    ["", "github.com/someone/a-book", "https://github.com/someone", f"{URL}/tree/main", 'https://github.com/a/b"'],
)
def test_other_addresses_are_refused(checkout, url):
    before = texts(checkout)
    done = write(checkout, url)
    assert done.returncode == 1 and "https://github.com/OWNER/NAME" in done.stderr and "Traceback" not in done.stderr
    assert texts(checkout) == before
