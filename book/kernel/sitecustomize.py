"""Note what a chapter reads: the build puts this folder on the PYTHONPATH of every kernel (see pipeline/execute.py).

Python imports `sitecustomize` at its start. An audit hook then appends each file opened for reading and each folder
listed below one of the folders ISTAPP_READS_UNDER to the file ISTAPP_READS, one path a line; programs that the chapter
starts do the same. What native code opens is unseen; istapp.weights announces the files that safetensors opens.
"""

import os
import sys

ROOTS = tuple(os.path.join(root, "") for root in os.environ["ISTAPP_READS_UNDER"].split(os.pathsep))
RECORD = os.open(os.environ["ISTAPP_READS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
noted = set()


def note(event: str, arguments: tuple) -> None:
    """Append the path to the record when `event` reads below a root."""
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
        if path not in noted and os.path.join(path, "").startswith(ROOTS):
            noted.add(path)
            os.write(RECORD, f"{path}\n".encode())


sys.addaudithook(note)
