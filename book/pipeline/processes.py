"""Whatever a build starts ends with the build: at Ctrl-C, at a signal, and when it or its parent is killed.

Kernels live in sessions of their own, so neither the terminal's Ctrl-C nor the end of a worker reaches them. Therefore
each process that a build starts, and each that these start, carries a mark in its environment. A guard outside of the
build's session ends everything marked as soon as the build is gone (its end closes a pipe) or the build's own parent
is, however they went. This needs no more of a system than that a process may read its own processes' environments.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

MARK = "ISTAPP_BUILD"
POLL = 0.2  # seconds between two looks at the build's parent
_held: list[object] = []  # what must stay open as long as the build lives


def end_marked(mark: str) -> None:
    """End all processes that carry `mark`, again until none is left; two seconds at most."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        marked = [
            process
            for process in psutil.process_iter(["environ"])
            if (process.info["environ"] or {}).get(MARK) == mark and process.pid != os.getpid()
        ]
        if not marked:
            return
        for process in marked:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.02)


def contain(command: str) -> None:
    """Mark all processes that this one starts from now on, and end them with it.

    A signal ends them first and this process next, with a line that names the `command`. That is safe at any moment,
    for a build replaces what it made before only by what is finished.
    """
    mark = f"{os.getpid()}-{time.time_ns()}"
    guard = [sys.executable, "-I", str(Path(__file__).resolve()), mark, str(os.getpid()), str(os.getppid())]
    _held.append(subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True))
    os.environ[MARK] = mark

    def stop(number: int, frame: FrameType | None) -> None:
        """End what was started, then this process, as the signal asks."""
        for signum in stopping:
            signal.signal(signum, signal.SIG_IGN)
        end_marked(mark)
        with suppress(OSError):  # of a terminal that is gone
            sys.stdout.flush()
            os.write(2, f"make {command}: stopped; finished chapters are kept\n".encode())
        os._exit(128 + number)

    stopping = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup has a right to ignore the end of a terminal
        stopping.append(signal.SIGHUP)
    for signum in stopping:
        signal.signal(signum, stop)


def told_to_stop(parent: int) -> bool:
    """Whether `parent` is a make that got SIGINT or SIGHUP alone: it blocks it and waits for the end of its children.

    That is so for SIGHUP where a terminal or a connection that runs nothing but make is closed. Known where there is
    /proc; elsewhere the build hears of Ctrl-C from the terminal, as it does here.
    """
    try:
        status = Path(f"/proc/{parent}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    is_make = fields.get("Name", "").strip() in {"make", "gmake"}
    return is_make and any(int(fields["SigBlk"], 16) >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGHUP))


def guard(mark: str, builder: int, parent: int) -> None:
    """Wait for the end of the build, the process `builder`, or of its `parent`; then end all that is left of it."""
    told = 0
    try:
        build = psutil.Process(builder)
        while not select.select([sys.stdin], [], [], POLL)[0]:
            told = told + 1 if told_to_stop(parent) else 0
            if told == 2:  # once may be by chance, while make starts another child
                build.send_signal(signal.SIGINT)
                parent = 0
            elif parent and build.ppid() != parent:
                build.kill()
                break
    except psutil.NoSuchProcess:
        pass
    end_marked(mark)


if __name__ == "__main__":
    guard(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
