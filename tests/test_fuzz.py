"""Thousands of calls of the command line with whatever comes to hand: one line each, no traceback, debris or hang.

`make test` makes 1,000 in its own process and 10 as programs, `make verify` 10,000 and 100 others. ISTAPP_FUZZ_CALLS
and ISTAPP_FUZZ_SEED change how many and which; what fails prints the call that did.
"""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT
from pictures import noise, save

from istapp import methods
from istapp.__main__ import main
from istapp.method import weights
from istapp.methods.ista_net_pp import ISTANetPP

CALLS = int(os.environ.get("ISTAPP_FUZZ_CALLS", "1000"))
SEED = int(os.environ.get("ISTAPP_FUZZ_SEED", "20"))
MORE = [pytest.param(seed, 2500, marks=pytest.mark.verify) for seed in range(1, 5)]
LONGEST = 60  # seconds after which a call hangs; each takes milliseconds

NUMBERS = [
    "0", "1", "-1", "2", "10", "100", "101", "nan", "-nan", "inf", "-inf", "1e400", "1e-300", "1.5", "0.1", "0.01", "",
    " ", "abc", "10**30", "9" * 400, "9" * 5000, "0x10", "\uff11\uff10", "1_0", "10,30", "10,,30", ",", "--", "-",
    "None", "True", "30%", "%", "1e", "\u202e1", "18446744073709551616", "-9223372036854775809", "'", '"', "{}", "[1]",
]  # fmt: skip
FILES = [
    "good.png", "gray.png", "deep.png", "cut.png", "text.png", "empty.png", "pipe.png", "loop.png", "link.png",
    "folder", "bad", "none.png", "w.safetensors", "headless.safetensors", "cut.safetensors", "w.pkl", "bad.pkl",
    "rows.csv", "half.csv", "rows.csv/x", "good.png/below.png",
]  # fmt: skip
PATHS = [
    *FILES, "", ".", "..", "/", "/proc/x.png", "/proc/self/mem", "/dev/full", "/dev/null", "/dev/zero",
    "/dev/zero/x.png", "x" * 256, "x" * 260 + ".png", "y" * 251 + ".png", "a/" * 3000 + "x.png",
    os.fsdecode(b"latin-\xe9.png"), "o.xyz", "o.pdf", "o.jpg", "o.csv", "o", "-", "--out",
    "*.png", "~", "a b.png", "new\nline.png", "\x7f.png", "\U0001f600.png", " ", "CON",
]  # fmt: skip
UNSPEAKABLE = ["null\0byte.png", "\ud800.png", "\0"]  # no operating system hands these over
SLOW = ["tv", "ista", "fista", "dip", "nlr-csnet", "bm3d-amp"]  # each with one iteration
NAMES = ["linear", *SLOW, "ista-net-pp", "ista-net-pp", "ista-net-plus", "reconnet", "dpa-net", "mac-net"]
WORDS = [
    "Set11", "Set12", "BSD68", "photos ", "table1x", "fig99", "all.", "base", "found", "ista_net_pp", "../tv", "tv.py"
]  # fmt: skip
SWITCHES = ["--blockwise", "--debug ", "--queue=x", "--again", "--bogus", "-x", "--", "--write=1", "--verify", "@file"]


class Calls:
    """An endless source of calls: about half of them wrong in one way or several, and none that takes long."""

    def __init__(self, seed: int, unspeakable: bool, good: float) -> None:
        """Draw from a seed; `good`: how probable it is for each argument that it is what the program asks for."""
        self.random, self.good = random.Random(seed), good
        self.paths = PATHS + UNSPEAKABLE * unspeakable

    def any(self, *pools: list[str]) -> str:
        return self.random.choice(self.random.choice(pools))

    def mostly(self, good: list[str], *bad: list[str]) -> str:
        return self.any(good) if self.random.random() < self.good else self.any(*bad)

    def some(self, *arguments: str, chance: float = 0.3) -> list[str]:
        return list(arguments) if self.random.random() < chance else []

    def method(self, ratio: str) -> list[str]:
        name = self.mostly(NAMES, WORDS, self.paths, NUMBERS)
        given = ["--method", name, *self.some(ratio, self.mostly(["1", "4", "10", "30"], NUMBERS))]
        given += self.some("--seed", self.mostly(["0", "1", "2"], NUMBERS))
        given += self.some("--weights", self.mostly(["w.safetensors", "w.pkl"], FILES, self.paths), chance=0.2)
        given += self.some("--device", self.mostly(["cpu"], ["cuda:7", "tpu", ""]), chance=0.1)
        if name in SLOW:
            known = [option.name for option in methods.describe(name).options]
            given += ["--option", "channels=2"] * ("channels" in known)
            for _ in range(self.random.choice([0, 1, 2])):
                value = self.mostly(["1", "0.5", "dct", "last", "3"], NUMBERS)
                given += ["--option", f"{self.mostly(known, WORDS, NUMBERS)}={value}"]
            given += ["--option", "iterations=1"]
        return given + self.some("--option", self.any(NUMBERS, WORDS, self.paths), chance=0.05)

    def reconstruct(self) -> list[str]:
        image = self.mostly(["good.png", "gray.png", "folder", "link.png"], FILES, self.paths)
        given = [image, *self.method("--ratio")]
        given += self.some("--out", self.mostly(["o.png", "new/deep/o.png", "out"], self.paths), chance=0.95)
        return given + self.some("--bits", self.mostly(["12"], NUMBERS), chance=0.1)

    def evaluate(self) -> list[str]:
        given = ["--dataset", self.mostly(["good.png", "gray.png", "folder"], FILES, self.paths, WORDS)]
        given += self.method("--ratios") + self.some("--out", self.mostly(["r.csv", "s.csv"], self.paths), chance=0.7)
        given += self.some("--bits", self.mostly(["12"], NUMBERS), chance=0.1)
        return given + self.some("--run", self.any(WORDS, self.paths, NUMBERS))

    def datasets(self) -> list[str]:
        given = self.some("--pack", self.mostly(["p.safetensors"], self.paths), self.mostly(["folder"], WORDS, FILES))
        return given + self.some("--verify", self.any(WORDS, self.paths, NUMBERS))

    def train(self) -> list[str]:  # nothing to learn from is at hand
        given = [self.mostly(["ista-net-pp-laptop"], WORDS, self.paths), "--out", self.mostly(["new"], FILES)]
        given += self.some("--minutes", self.mostly(["0", "0.01"], NUMBERS)) + self.some("--pixels", self.any(NUMBERS))
        return given + self.some("--together", self.any(NUMBERS))

    def other(self) -> list[str]:
        return {
            "methods": self.some(self.mostly(["linear", "tv"], NAMES, WORDS, self.paths), chance=0.98),
            "reproduce": [self.any(WORDS, self.paths), *self.some("--minutes", self.any(NUMBERS))],
            "benchmark": ["--device", self.any(WORDS, self.paths), *self.some("--out", self.any(self.paths))],
            "experiments": [self.any(self.paths)],
        }

    def call(self) -> list[str]:
        if self.random.random() < 0.002:  # reads every row there is, which takes a while
            return ["trace", self.any(WORDS, self.paths, NUMBERS)]
        kind = self.random.choice(["reconstruct"] * 6 + ["evaluate"] * 6 + ["datasets", "train", "", "", "", ""])
        if kind:
            given = getattr(self, kind)()
        else:
            kind = self.mostly(list(self.other()), WORDS, NUMBERS, ["", "--version", "-h"])
            given = self.other().get(kind, [self.any(self.paths)])
        for _ in range(self.random.choice([0] * 12 + [1, 2])):
            given.insert(self.random.randint(0, len(given)), self.any(SWITCHES, NUMBERS, self.paths))
        return [kind, *given]


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Path]:
    """A folder with good and bad files of every kind as the working one, and no data sets anywhere."""
    save(folder / "good.png", noise(0, (8, 9, 3)))
    save(folder / "gray.png", noise(1, (40, 12)))
    PIL.Image.fromarray(np.arange(99, dtype=np.uint16).reshape(9, 11)).save(folder / "deep.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:80])
    (folder / "text.png").write_text("no image")
    (folder / "empty.png").touch()
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "link.png").symlink_to("good.png")
    save(folder / "folder" / "a.png", noise(2))
    (folder / "folder" / "b.png").write_text("no image")
    (folder / "bad").mkdir()
    (folder / "bad" / "b.png").write_text("no image")
    network = ISTANetPP(1, 2)
    header = {"method": network.name, "config": network.config}
    weights.save(folder / "w.safetensors", network.state_dict(), header)
    weights.save(folder / "headless.safetensors", network.state_dict(), {**header, "config": {"stages": -1}})
    (folder / "cut.safetensors").write_bytes((folder / "w.safetensors").read_bytes()[:200])
    torch.save(network.state_dict(), folder / "w.pkl")
    (folder / "bad.pkl").write_bytes(b"\x80\x04junk")
    (folder / "rows.csv").write_text("")
    (folder / "half.csv").write_text("method,dataset\ntv")
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def debris(folder: Path) -> list[Path]:
    """What is left half done: every such file is hidden while it is written."""
    return [path for path in folder.rglob(".*") if path.name not in (".cache", ".pytest_cache")]


def protected() -> list[tuple[str, int, int]]:
    """What no call here may change: the project's data."""
    files = [path for path in (ROOT / "data").rglob("*") if path.is_file()]
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def judge(call: list[str], code: int, error: str) -> None:
    """Fail with the call unless it ended as a program may: well, or with one line."""
    lines = [line for line in error.splitlines() if not line.startswith("istapp: warning: ")]
    fine = code in (0, 1, 3) or (code == 2 and len(lines) == 1 and lines[0].startswith("istapp: "))
    if not fine or "Traceback" in error:
        pytest.fail(f"exit code {code} of istapp {call!r}:\n{error[-3000:]}", pytrace=False)


class Hangs(BaseException):
    """Longer than any call may last; no kind of error that a program would deal with."""


def hangs(*_: object) -> None:
    raise Hangs


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data sets, no cache, no network."""
    monkeypatch.delenv("ISTAPP_DATA", raising=False)
    monkeypatch.delenv("ISTAPP_OFFICIAL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(call: list[str]) -> tuple[int, str]:
    """Run a call in this process, as long as a call may last, and return its exit code and what it complained about."""
    error = io.StringIO()
    signal.alarm(LONGEST)
    try:
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            return main(call), error.getvalue()
    except SystemExit as stop:
        return stop.code, error.getvalue()
    except Hangs:
        return 124, error.getvalue()
    finally:
        signal.alarm(0)


@pytest.mark.parametrize(("seed", "number"), [(0, CALLS), *MORE])
def test_many_calls_in_one_process(seed: int, number: int, alone: Path) -> None:
    calls, before = Calls(SEED + seed, unspeakable=True, good=0.75), protected()
    previous = signal.signal(signal.SIGALRM, hangs)
    try:
        with place(alone / "place") as folder:
            for _ in range(number):
                call = calls.call()
                code, error = run(call)
                judge(call, code, run([call[0], "--debug", *call[1:]])[1] if code == 70 else error)
            assert not debris(folder), debris(folder)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert protected() == before


@pytest.mark.parametrize("number", [max(CALLS // 100, 1), pytest.param(100, marks=pytest.mark.verify)])
def test_some_calls_as_a_program(number: int, alone: Path) -> None:
    # Most of them wrong: a call that is right waits for PyTorch, which takes seconds.
    calls, before = Calls(SEED, unspeakable=False, good=0.4), protected()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": tempfile.mkdtemp(dir=alone)}
    with place(alone / "place") as folder:
        for _ in range(number):
            call = calls.call()
            done = subprocess.run(
                [sys.executable, "-m", "istapp", *call], env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=5 * LONGEST,
            )  # fmt: skip
            judge(call, done.returncode, done.stderr.decode(errors="replace"))
        assert not debris(folder), debris(folder)
    assert protected() == before and not os.listdir(environment["TMPDIR"])
