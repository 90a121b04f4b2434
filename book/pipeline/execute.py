"""Run the chapters whose key changed, two at a time, each in a fresh process with one thread."""

import json
import multiprocessing
import os
import resource
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from pipeline import ROOT, BuildError, keys

EXECUTED = ROOT / "build" / "executed"
FAILED = ROOT / "build" / "failed"
CELL_TIMEOUT = 600  # seconds; a chapter takes 90 at most
PROCESSES = 2


def chapters() -> list[Path]:
    """The notebooks of the book, in order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def record_of(notebook: Path) -> Path:
    """Where the key and the seconds of an executed chapter are kept."""
    return EXECUTED / f"{notebook.stem}.json"


def stale(notebook: Path, parameters: dict[str, str] | None = None) -> list[str]:
    """Why the executed copy of `notebook` cannot be shown; empty when it can.

    Without `parameters` those of the last execution are taken as wanted.
    """
    record = record_of(notebook)
    if not (record.exists() and (EXECUTED / notebook.name).exists()):
        return ["never executed"]
    old = json.loads(record.read_text(encoding="utf-8"))["key"]
    return keys.changes(old, keys.key(notebook, old["parameters"] if parameters is None else parameters, old["data"]))


def run(notebook: Path, parameters: dict[str, str], output: Path) -> list[str]:
    """Execute `notebook` into `output` and return the labels of the data files that it read.

    The kernel takes its environment from this process, so some of `os.environ` is set here.

    Raises:
        BuildError: a parameter that the notebook does not declare, or a cell that failed or did not end.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    unknown = parameters.keys() - papermill.inspect_notebook(notebook).keys()
    if unknown:
        raise BuildError(f"{notebook.name} declares no parameter {', '.join(sorted(unknown))}")
    reads = output.with_suffix(".reads")
    reads.unlink(missing_ok=True)
    roots = keys.data_roots().values()
    os.environ |= {"ISTAPP_READS": str(reads), "ISTAPP_READS_UNDER": os.pathsep.join(map(str, roots))}
    paths = [ROOT / "book" / "kernel", ROOT]  # the recorder of reads, and this checkout's istapp before any other
    os.environ |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    try:
        papermill.execute_notebook(
            notebook, output, parameters, kernel_name="python3", cwd=ROOT / "notebooks",
            execution_timeout=CELL_TIMEOUT, progress_bar=False,
        )  # fmt: skip
    except PapermillExecutionError as error:
        where = f"the cell that begins with `{error.source.strip().splitlines()[0]}`"
        raise BuildError(f"{notebook.name}: {error.ename}: {error.evalue} in {where}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise BuildError(f"{notebook.name}: {str(error).strip().splitlines()[0]}") from None
    return sorted({keys.label(Path(line)) for line in reads.read_text(encoding="utf-8").splitlines()})


def processor_seconds() -> float:
    """Processor time of all kernels that this process has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(notebook: Path, parameters: dict[str, str]) -> float:
    """Execute one chapter; keep the result and its key only when all went well. Returns the seconds it took.

    What is kept as the chapter's time is the processor's: a kernel has one thread, and a busy machine must not make a
    chapter look slow.
    """
    before = keys.key(notebook, parameters, [])
    output = FAILED / notebook.name
    start, used = time.perf_counter(), processor_seconds()
    reads = run(notebook, parameters, output)
    seconds = time.perf_counter() - start
    after = keys.key(notebook, parameters, reads)
    if changed := keys.changes(before | {"data": after["data"]}, after):
        raise BuildError(f"{notebook.name}: {changed[0]} while it ran; build again")
    EXECUTED.mkdir(parents=True, exist_ok=True)
    shutil.move(output, EXECUTED / notebook.name)
    record = {"key": after, "processor_seconds": round(processor_seconds() - used, 1)}
    record_of(notebook).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return seconds


def quiet() -> None:
    """Send what kernels say about themselves to a file; what a cell prints is in its notebook anyway."""
    os.dup2(os.open(FAILED / "kernels.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)


def execute_changed(parameters: dict[str, str]) -> None:
    """Bring every executed chapter up to date, saying what runs, how long it took and what is left.

    Raises:
        BuildError: after all others ran, naming each chapter that failed.
    """
    outdated = {notebook: why for notebook in chapters() if (why := stale(notebook, parameters))}
    print(f"{len(chapters()) - len(outdated)} of {len(chapters())} chapters are up to date", flush=True)
    for notebook, why in outdated.items():
        print(f"  to execute: {notebook.stem} ({why[0]}{f' and {len(why) - 1} more' if why[1:] else ''})", flush=True)
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
            print(f"  {running[done]}: {outcome}; left: {', '.join(left) or 'none'}", flush=True)
    if failures:
        raise BuildError(f"{'; '.join(failures)} (with its traceback in {FAILED.relative_to(ROOT)})")
