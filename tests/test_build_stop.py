"""Nothing of a build outlives it: Ctrl-C, a signal, or the violent death of the build or of the make that runs it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from books import ROOT, command, environment, write_book, write_chapter
from pipeline.processes import MARK, told_to_stop

pytestmark = pytest.mark.xdist_group("build")

PATIENCE = 240  # seconds until a test gives up on a busy machine; ending takes less than one
ENDLESS = """import os, subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
open("../running", "w").write(str(os.getpid()))
while True: time.sleep(0.1)"""


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Path:
    """A book whose only chapter starts another program and never ends."""
    book = write_book(tmp_path_factory.mktemp("stop") / "book", "format: jb-book\nroot: notebooks/01_trial\n")
    write_chapter(book, [("code", 'profile = "laptop"', {"tags": ["parameters"]}), ("code", ENDLESS, {})])
    shutil.copy(ROOT / "Makefile", book)
    (book / ".venv" / "bin").mkdir(parents=True)
    for name in ("requirements.txt", "constraints.txt", "hashes.txt", "pyproject.toml", ".venv/.ready"):
        (book / name).touch()
    python = book / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return book


def started_by(builder: int) -> list[psutil.Process]:
    """Every process that carries the mark of the build `builder`, whatever its session and parent."""
    everything = psutil.process_iter(["environ", "status"])
    mine = [p for p in everything if (p.info["environ"] or {}).get(MARK, "").startswith(f"{builder}-")]
    return [process for process in mine if process.info["status"] != psutil.STATUS_ZOMBIE]


def within_patience(condition: Callable[[], object]) -> bool:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def heed_signals() -> None:
    """Undo what a shell and `nohup` do to the processes that these tests may run in: ignoring Ctrl-C, a closed line."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(endless: Path) -> Iterator[Callable[[list[str]], tuple[subprocess.Popen, psutil.Process]]]:
    """Run a command that builds the book; once the chapter runs, return the process and that of the build."""
    begun: list[subprocess.Popen] = []

    def run(arguments: list[str]) -> tuple[subprocess.Popen, psutil.Process]:
        (endless / "running").unlink(missing_ok=True)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(
            arguments, cwd=endless, start_new_session=True, env=environment(), preexec_fn=heed_signals, **pipes
        )
        begun.append(process)
        assert within_patience((endless / "running").exists)
        kernel = psutil.Process(int((endless / "running").read_text()))
        builder = int(kernel.environ()[MARK].partition("-")[0])
        assert len(started_by(builder)) >= 4  # two workers, the kernel, and what it started
        return process, psutil.Process(builder)

    yield run
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(builder: psutil.Process) -> bool:
    """Whether neither the build nor anything that it started runs."""
    try:
        gone = builder.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        gone = True
    return gone and not started_by(builder.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_make_alone_ends_all(start, number):
    make, builder = start(["make", "book"])
    make.send_signal(number)
    assert within_patience(lambda: ended(builder)), started_by(builder.pid)
    assert "make book: stopped; finished chapters are kept" in make.communicate()[0].decode()


def test_ctrl_c_ends_all_at_once(start):
    process, builder = start(command("book"))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    assert within_patience(lambda: ended(builder)), started_by(builder.pid)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only there is it known")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_make_that_was_told_to_stop_is_recognised(number: int, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@exec sleep 100\n")
    make = subprocess.Popen(["make"], cwd=tmp_path, preexec_fn=heed_signals)
    try:
        (sleep,) = within_patience(psutil.Process(make.pid).children) and psutil.Process(make.pid).children()
        assert within_patience(lambda: not told_to_stop(make.pid))  # a make that starts a child looks the same
        make.send_signal(number)  # to make alone, which waits for its child
        assert within_patience(lambda: told_to_stop(make.pid))
    finally:
        sleep.kill()
        make.wait()


def test_what_a_killed_build_started_ends(start):
    process, builder = start(command("book"))
    process.kill()
    assert within_patience(lambda: ended(builder)), started_by(builder.pid)


def test_the_build_of_a_killed_make_ends(start):
    make, builder = start(["make", "book"])
    make.kill()
    assert within_patience(lambda: ended(builder)), started_by(builder.pid)


def test_a_killed_worker_costs_a_line_and_the_build(start):
    process, builder = start(command("book"))
    kernel = psutil.Process(int((Path(builder.cwd()) / "running").read_text()))
    kernel.parent().kill()
    said = process.communicate()[0].decode()
    assert process.returncode == 1 and "Traceback" not in said
    assert "01_trial: its process, or that of a chapter beside it, was ended from outside" in said
    assert within_patience(lambda: ended(builder)), started_by(builder.pid)
