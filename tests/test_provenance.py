"""Where a result came from."""

import hashlib
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from istapp.basics import provenance


@pytest.fixture
def no_git(monkeypatch):
    """A machine without git; what was asked before is forgotten."""
    provenance.commit.cache_clear()
    monkeypatch.setattr(provenance, "_git", lambda *arguments: None)
    yield
    provenance.commit.cache_clear()


@pytest.mark.parametrize(("variable", "commit"), [("abc123", "abc123"), ("", "unknown"), (None, "unknown")])
def test_commit_without_git(no_git, monkeypatch, variable, commit):
    monkeypatch.delenv("ISTAPP_COMMIT", raising=False)
    if variable is not None:
        monkeypatch.setenv("ISTAPP_COMMIT", variable)
    assert provenance.commit() == commit


@pytest.mark.parametrize(("changes", "told", "commit"), [
    ("", "", "0123456789ab"), (" M istapp/sampling.py", "", "0123456789ab-dirty"),
    ("", "fedcba987654", "0123456789ab"), (" M istapp/sampling.py", "fedcba987654", "fedcba987654"),
])  # fmt: skip
def test_commit_of_changed_files_is_what_the_environment_says_or_marked(no_git, monkeypatch, changes, told, commit):
    said = {"rev-parse": "0123456789ab", "ls-files": "provenance.py", "status": changes}
    monkeypatch.setattr(provenance, "_git", lambda what, *rest: said[what])
    monkeypatch.setenv("ISTAPP_COMMIT", told)
    assert provenance.commit() == commit


@pytest.mark.parametrize(
    ("changed", "dirty"), [("data/results/a.csv", False), ("data/weights/a", False), ("data/b", True)]
)
def test_what_runs_write_does_not_make_a_tree_dirty(tmp_path, monkeypatch, changed, dirty):
    """A second run in one clean clone comes from the same code as the first, whose rows lie there."""

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=b", *arguments]
        return subprocess.check_output(command, cwd=tmp_path / "istapp", text=True).strip()

    for name in ("istapp/__init__.py", changed):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("old")
    for command in (["init", "-q", ".."], ["add", ":/"], ["commit", "-qm", "all"]):
        git(*command)
    monkeypatch.setattr(provenance, "_git", git)
    monkeypatch.delenv("ISTAPP_COMMIT", raising=False)
    provenance.commit.cache_clear()
    clean = provenance.commit()
    (tmp_path / changed).write_text("newer")
    provenance.commit.cache_clear()
    assert provenance.commit() == clean + "-dirty" * dirty and len(clean) == 12
    provenance.commit.cache_clear()


def test_commit_of_a_surrounding_repository_does_not_count(no_git, monkeypatch):
    said = {"rev-parse": "0123456789ab", "ls-files": None, "status": ""}
    monkeypatch.setattr(provenance, "_git", lambda what, *rest: said[what])
    monkeypatch.delenv("ISTAPP_COMMIT", raising=False)
    assert provenance.commit() == "unknown"


def test_stamp_says_what_a_number_depends_on():
    stamp = provenance.stamp(since=time.monotonic() - 120, seed=3, weights="abc")
    assert {"commit", "command", "device", "threads", "date", "minutes", "seed", "weights"} <= set(stamp)
    assert set(stamp["versions"]) == {"python", "torch", "numpy"}
    assert stamp["minutes"] >= 2 and stamp["date"].endswith("+00:00") and stamp["device"]
    assert "minutes" not in provenance.stamp()


def test_command_leaves_out_where_things_lie_on_a_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/a/istapp/__main__.py", "evaluate", "/a/b/my set", "--out=/c/d.csv", "e/f"])
    assert provenance.command() == "istapp evaluate '.../my set' --out=.../d.csv e/f"


@given(st.binary())
def test_file_hash_is_sha256(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("hash") / "file"
    path.write_bytes(data)
    assert provenance.file_hash(path) == hashlib.sha256(data).hexdigest()


def test_tensors_hash_depends_on_content_only():
    a, b = torch.arange(6.0).view(2, 3), torch.ones(2, dtype=torch.bfloat16)
    whole = provenance.tensors_hash({"a": a, "b": b})
    assert provenance.tensors_hash({"b": b, "a": a.T.contiguous().T}) == whole
    for other in (
        {"a": a.view(3, 2), "b": b},
        {"a": a.double(), "b": b},
        {"c": a, "b": b},
        {"a": a + 1, "b": b},
        {"a": a},
    ):
        assert provenance.tensors_hash(other) != whole
    assert provenance.tensors_hash({"scalar": torch.tensor(1.0)}) != provenance.tensors_hash({})


def test_a_tree_that_git_cannot_look_through_is_not_called_clean(no_git, monkeypatch):
    said = {"rev-parse": "0123456789ab", "ls-files": "provenance.py", "status": None}
    monkeypatch.setattr(provenance, "_git", lambda what, *rest: said[what])
    monkeypatch.delenv("ISTAPP_COMMIT", raising=False)
    assert provenance.commit() == "0123456789ab-dirty"
