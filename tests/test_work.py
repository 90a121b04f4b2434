"""A reader's work in Colab, without Colab: on Drive, downloaded, and where Colab does not hand the notebook over."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest

from istapp.basics.errors import UserError
from istapp.exercises import work

PAGE = {
    "cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# ISTA, the *first* solver\n", "and my answer"]}],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 0,
}


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A stub of Colab: what it mounted, what it sent, and how it answers when it is asked for the notebook."""
    seen = SimpleNamespace(mounted=[], sent=[], answer=lambda *_, **__: {"ipynb": PAGE})
    parts = {
        "drive": {"mount": seen.mounted.append},
        "files": {"download": seen.sent.append},
        "_message": {"blocking_request": lambda *given, **more: seen.answer(*given, **more)},
    }
    whole = ModuleType("google.colab")
    for name, functions in parts.items():
        part = ModuleType(f"google.colab.{name}")
        vars(part).update(functions)
        setattr(whole, name, part)
        monkeypatch.setitem(sys.modules, part.__name__, part)
    monkeypatch.setitem(sys.modules, "google.colab", whole)
    monkeypatch.setattr(work, "MOUNT", tmp_path / "drive")
    monkeypatch.chdir(tmp_path)
    return seen


def test_work_goes_to_drive_under_the_chapters_name(colab: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    """Drive is mounted first, and the file says which chapter it is."""
    file = work.save("drive")
    assert colab.mounted == [str(work.MOUNT)] and not colab.sent
    assert file.parent == work.MOUNT / "MyDrive" / "istapp" and file.name.startswith("ista-the-first-solver-2")
    assert json.loads(file.read_text()) == PAGE and str(file) in capsys.readouterr().out


def test_work_is_downloaded(colab: SimpleNamespace, tmp_path: Path) -> None:
    """It lies in the working folder and is sent from there; Drive is left alone."""
    file = work.save("download")
    assert colab.sent == [str(file)] and file.parent == tmp_path and not colab.mounted
    assert json.loads(file.read_text()) == PAGE


@pytest.mark.parametrize("answer", [None, {}, {"ipynb": {"cells": []}}, TimeoutError()], ids=str)
def test_without_the_notebook_the_cells_that_were_run_are_kept(
    answer: object, colab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Colab says to a question that it does not promise to answer."""

    def told(*_: object, **__: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    colab.answer = told
    shell = SimpleNamespace(user_ns={"In": ["", "a = 1", "\n", "print(a)"]})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    file = work.save("download")
    page = nbformat.read(file, as_version=4)
    nbformat.validate(page)
    assert [cell["source"] for cell in page["cells"]] == ["a = 1", "print(a)"]
    assert file.name.startswith("chapter-2")


def test_nothing_is_asked_of_a_reader_who_wants_nothing(colab: SimpleNamespace, tmp_path: Path) -> None:
    """Run all runs this cell too."""
    assert work.save("") is None
    assert not (colab.mounted or colab.sent or list(tmp_path.iterdir()))


def test_outside_of_colab_it_says_that_nothing_is_to_be_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """And writes nothing."""
    monkeypatch.chdir(tmp_path)
    assert "google.colab" not in sys.modules
    assert work.save("drive") is None and not list(tmp_path.iterdir())
    assert "outside of Colab" in capsys.readouterr().out


def test_another_place_is_refused() -> None:
    """In one line that names the two."""
    with pytest.raises(UserError, match='"drive" or "download"'):
        work.save("dropbox")
