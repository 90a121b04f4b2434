"""Commands of the Makefile hand on what they are given as it is; the workflow has no more rights than it needs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from books import ROOT, environment

SAYING = '#!/bin/sh\nfor given; do printf "%s\\n" "$given"; done\n'
HOSTILE = "\"; touch pwned; '$(shell touch pwned)`touch pwned`$$(touch pwned)"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment whose programs only print their arguments, one a line."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "uv"):
        (tmp_path / ".venv" / "bin" / name).write_text(SAYING)
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    for name in ("requirements.txt", "constraints.txt", "hashes.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("by_environment", [False, True], ids=["argument", "environment"])
@pytest.mark.parametrize(("target", "variable"), [("address", "URL"), ("book", "PROFILE"), ("book", "TORCH_INDEX")])
def test_a_value_is_no_program(commands, target, variable, by_environment):
    given = [] if by_environment else [f"{variable}={HOSTILE}"]
    more = {variable: HOSTILE} if by_environment else {}
    done = subprocess.run(
        ["make", target, *given], cwd=commands, env=environment(**more), capture_output=True, text=True, check=True
    )
    printed = re.sub(r"^--(profile|index-url)=", "", done.stdout, flags=re.M)
    assert HOSTILE in printed.splitlines()
    assert not (commands / "pwned").exists()


@pytest.mark.parametrize("file", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_the_workflows_pin_their_actions_and_ask_for_few_rights(file):
    text = file.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"} and workflow["concurrency"]["group"]
    actions = re.findall(r"uses: (.*)", text)
    assert actions and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action) for action in actions)


def test_a_pull_request_gets_a_preview_and_the_ledgers_difference():
    """With the rights to read alone; what is published is none of its business."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["build"]["steps"]
    own = [step for step in steps if step.get("if") == "github.event_name == 'pull_request'"]
    assert [step.get("with", {}).get("path") for step in own] == ["build/html", None]
    assert "istapp ledger --since" in own[1]["run"] and "${{" not in own[1]["run"]
    assert steps[0]["with"]["fetch-depth"] == 2, "the base of the pull request is HEAD^1"
    assert "permissions" not in workflow["jobs"]["build"]


def test_help_names_every_command():
    """`make help` lists what a person may call, and nothing that does not exist."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r'@echo "make (\w+)', text))
    assert named | {"help"} == set(re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split())


def test_every_library_but_torch_has_hashes_of_the_version_that_is_pinned():
    entry = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n.*)*)", re.M)
    found = [entry.findall((ROOT / name).read_text(encoding="utf-8")) for name in ("constraints.txt", "hashes.txt")]
    pinned, hashed = ([(library, version) for library, version, _ in entries] for entries in found)
    assert pinned and sorted(pinned) == sorted(hashed)
    assert [library for library, _, lines in found[1] if "--hash=sha256:" not in lines] == ["torch"]
