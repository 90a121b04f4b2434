"""Note what a chapter reads: the build puts this folder on the PYTHONPATH of every kernel (see pipeline/execute.py).

Python imports `sitecustomize` at its start. An audit hook then appends to the file ISTAPP_READS, one a line, each file
opened for reading and each folder listed below one of the folders ISTAPP_READS_UNDER, and "import NAME" for each
top-level module imported; programs that the chapter starts do the same. A module's file is not read that is opened for
import, for a hash of its code, or for a stack that a library remembers (torch does at each seed): no page shows it.
What native code opens is unseen; istapp.method.weights announces the files that safetensors opens.
"""

import os
import sys
import types

ROOTS = tuple(os.path.join(root, "") for root in os.environ["ISTAPP_READS_UNDER"].split(os.pathsep))
RECORD = os.open(os.environ["ISTAPP_READS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
SILENT = {"format_stack", "code_key"}  # of traceback and experiments.identity: they open modules and show none
noted = set()


def write(line: str) -> None:
    """Append a line to the record, once."""
    if line not in noted:
        noted.add(line)
        os.write(RECORD, f"{line}\n".encode())


def shows(frame: types.FrameType) -> bool:
    """Whether what the code of `frame` opens, the file of a module, may be seen afterwards."""
    caller: types.FrameType | None = frame
    while caller and caller.f_code.co_name not in SILENT:
        caller = caller.f_back
    return caller is None and "importlib" not in frame.f_code.co_filename


def note(event: str, arguments: tuple) -> None:
    """Record what `event` imports, or reads below a root."""
    if event == "import":
        write(f"import {arguments[0].partition('.')[0]}")
        return
    if event == "open":
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR):
            return
    elif event in ("os.listdir", "os.scandir"):
        path = arguments[0] or "."
    else:
        return
    if isinstance(path, (str, os.PathLike)):
        path = os.path.realpath(path)
        below = os.path.join(path, "").startswith(ROOTS)
        if below and (not path.endswith((".py", ".pyc")) or shows(sys._getframe(1))):
            write(path)


sys.addaudithook(note)
