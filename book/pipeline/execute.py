"""Run the chapters whose key changed, two at a time, each in a fresh process with one thread."""

import functools
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from istapp.basics.memory import KEEP_FREED
from pipeline import ROOT, BuildError, keys, notebooks

EXECUTED = ROOT / "build" / "executed"
FAILED = ROOT / "build" / "failed"
CELL_TIMEOUT = 600  # seconds; a chapter takes 90 at most
PROCESSES = 2
PYTHON = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def executed_of(notebook: Path) -> Path:
    """Where the executed copy of a chapter is kept."""
    return EXECUTED / notebooks.name(notebook)


def record_of(notebook: Path) -> Path:
    """Where the key and the seconds of an executed chapter are kept, and a hash of both and of the executed copy."""
    return executed_of(notebook).with_suffix(".json")


def seal(executed: Path, record: dict) -> str:
    """The hash that an executed chapter and the rest of its record must keep."""
    rest = {name: record[name] for name in record if name != "seal"}
    return hashlib.sha256(executed.read_bytes() + json.dumps(rest, sort_keys=True).encode()).hexdigest()


def recorded(notebook: Path) -> dict:
    """The record of the last execution of `notebook`.

    Raises:
        BuildError: there is none, or it or the executed copy is not what the execution left.
    """
    executed = executed_of(notebook)
    try:
        record = json.loads(record_of(notebook).read_text(encoding="utf-8"))
        if record["seal"] == seal(executed, record):
            return record
    except FileNotFoundError:
        raise BuildError("never executed") from None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise BuildError(f"its executed copy in {executed.parent.relative_to(ROOT)} was changed afterwards")


def stale(notebook: Path, parameters: dict[str, str]) -> list[str]:
    """Why the executed copy of `notebook` cannot be shown as executed with `parameters`; empty when it can."""
    try:
        old = recorded(notebook)["key"]
    except BuildError as error:
        return [str(error)]
    return keys.changes(old, keys.key(notebook, parameters, set(old["data"]), set(old["libraries"])))


@functools.cache
def own_kernel() -> type:
    """The kernel manager that runs this environment's own Python, whatever kernels called python3 lie about."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        """A manager whose kernel is this Python."""

        @property
        def kernel_spec(self) -> KernelSpec:
            """What runs this Python as a kernel."""
            return KernelSpec(**get_kernel_dict())

    return OwnKernel


def run(notebook: Path, parameters: dict[str, str], output: Path) -> tuple[set[str], set[str]]:
    """Execute `notebook` into `output` and return the labels of the files that it read and the libraries it used.

    The kernel takes its environment from this process, so some of `os.environ` is set here.

    Raises:
        BuildError: a parameter that the notebook does not declare, or a cell that failed or did not end.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    name = notebooks.name(notebook)
    page = nbformat.from_dict(notebooks.read(notebook) | {"metadata": PYTHON})
    unknown = parameters.keys() - papermill.inspect_notebook(page).keys()
    if unknown:
        raise BuildError(f"{name} declares no parameter {', '.join(sorted(unknown))}")
    trace = output.with_suffix(".reads")
    trace.unlink(missing_ok=True)
    os.environ |= {"ISTAPP_READS": str(trace), "ISTAPP_READS_UNDER": os.pathsep.join(map(str, keys.roots().values()))}
    paths = [ROOT / "book" / "kernel", ROOT]  # the recorder of reads, and this checkout's istapp before any other
    os.environ |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    os.environ |= KEEP_FREED
    try:
        papermill.execute_notebook(
            page, output, parameters, kernel_manager_class=own_kernel(), cwd=notebook.parent,
            execution_timeout=CELL_TIMEOUT, progress_bar=False, request_save_on_cell_execute=False,
        )  # fmt: skip
    except PapermillExecutionError as error:
        where = f"the cell that begins with `{error.source.strip().splitlines()[0]}`"
        raise BuildError(f"{name}: {error.ename}: {error.evalue} in {where}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise BuildError(f"{name}: {str(error).strip().splitlines()[0]}") from None
    shown = keys.quoted(json.loads(output.read_text(encoding="utf-8")))
    lines = set(trace.read_text(encoding="utf-8").splitlines())
    imported = {line.removeprefix("import ") for line in lines if line.startswith("import ")}
    reads = {Path(line) for line in lines if not line.startswith("import ")}
    return keys.labels(reads) | shown, keys.libraries(imported)


def processor_seconds() -> float:
    """Processor time of all kernels that this process has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(notebook: Path, parameters: dict[str, str]) -> float:
    """Execute one chapter; keep the result and its key only when all went well. Returns the seconds it took.

    What is kept as the chapter's time is the processor's: a kernel has one thread, and a busy machine must not make a
    chapter look slow.
    """
    before = keys.key(notebook, parameters, set(), set())
    output = FAILED / notebooks.name(notebook)
    output.parent.mkdir(parents=True, exist_ok=True)
    began, start, used = time.time(), time.perf_counter(), processor_seconds()
    reads, libraries = run(notebook, parameters, output)
    seconds = time.perf_counter() - start
    after = keys.key(notebook, parameters, reads, libraries)
    for path in map(keys.located, sorted(reads)):
        if path.is_file() and path.stat().st_mtime > began:
            raise BuildError(f"{notebooks.name(notebook)}: {keys.label(path)} changed while it ran; build again")
    if changed := keys.changes(before | {part: after[part] for part in ("data", "libraries")}, after):
        raise BuildError(f"{notebooks.name(notebook)}: {changed[0]} while it ran; build again")
    executed, record = executed_of(notebook), {"key": after, "processor_seconds": round(processor_seconds() - used, 1)}
    executed.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(output, executed)
    record["seal"] = seal(executed, record)
    record_of(notebook).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return seconds


def quiet() -> None:
    """Send what kernels say about themselves to a file; what a cell prints is in its notebook anyway."""
    os.dup2(os.open(FAILED / "kernels.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)


def execute_changed(parameters: dict[str, str]) -> None:
    """Bring every executed chapter up to date, saying what runs, how long it took and what is left.

    Raises:
        BuildError: before anything runs, naming each chapter that is no notebook; or after all others ran, naming
            each that failed.
    """
    notebooks.check()
    chapters = notebooks.chapters()
    outdated = {notebook: why for notebook in chapters if (why := stale(notebook, parameters))}
    print(f"{len(chapters) - len(outdated)} of {len(chapters)} chapters are up to date", flush=True)
    for notebook, why in outdated.items():
        more = f" and {len(why) - 1} more" if why[1:] else ""
        print(f"  to execute: {notebook.stem} ({why[0]}{more})", flush=True)
    left, failures = [notebook.stem for notebook in outdated], []
    FAILED.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"), quiet) as pool:
        running = {pool.submit(execute, notebook, parameters): notebook.stem for notebook in outdated}
        for done in as_completed(running):
            left.remove(running[done])
            try:
                outcome = f"{done.result():.0f} s"
            except BuildError as error:
                outcome = f"FAILED: {error}"
                failures.append(str(error))
            except BrokenProcessPool:
                outcome = "FAILED: its process was ended, as for want of memory"
                failures.append(f"{running[done]}: its process, or that of a chapter beside it, was ended from outside")
            print(f"  {running[done]}: {outcome}; left: {', '.join(left) or 'none'}", flush=True)
    if failures:
        raise BuildError(f"{'; '.join(failures)} (with its traceback in {FAILED.relative_to(ROOT)})")
