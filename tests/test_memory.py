"""What is freed is at hand for what is asked for next."""

import subprocess
import sys

import pytest

#: Prints how many pages a process fetches from the kernel while it frees and asks for 256 MiB ten times over.
PROGRAM = """
import resource, torch
from istapp.basics.memory import keep_freed
{begin}
def turn():
    held = [torch.ones(2**20 * {mib} // 4) for _ in range(256 // {mib})]
for _ in range(10):  # until the heap has its size
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    turn()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
"""


def pages_fetched(begin: str, mib: int) -> int:
    program = PROGRAM.format(begin=begin, mib=mib)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the C library is another one")
@pytest.mark.parametrize("mib", [4, 64])
def test_memory_that_is_kept_is_not_fetched_again(mib: int) -> None:
    """Pages have 4 KiB or more, so that 256 MiB are at most 65536 of them."""
    without, kept = pages_fetched("", mib), pages_fetched("keep_freed()", mib)
    assert kept < 200
    if without < 2000:
        pytest.skip("this C library keeps it by itself")


def test_the_program_keeps_what_it_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    from istapp import __main__

    kept = []
    monkeypatch.setattr(__main__, "keep_freed", lambda: kept.append(True))
    monkeypatch.setattr(__main__, "main", lambda: 0)
    monkeypatch.setattr(__main__.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit):
        __main__.program()
    assert kept == [True]
