"""Memory that is freed and asked for again at once, as a network does stage after stage."""

import contextlib
import ctypes

#: Numbers of two options of `mallopt` in the C library of most Linux systems.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_MOST = 2**31 - 1

#: The same for a process that is yet to be started, as its environment.
KEEP_FREED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(_MOST)}


def keep_freed() -> None:
    """Let this process keep memory that it frees, up to 2 GiB, for what it asks for next.

    By itself the C library of most Linux systems (glibc) hands a piece of 32 MiB or more back to the kernel as soon as
    it is freed, and often what lies free at the end of its heap as well. Each page of it that is asked for again is
    filled with zeros first: in a reconstruction of 512 x 512 pixels half of the time goes there, and in a training it
    is a matter of luck. The price is that the peak of memory can be some quarter higher, and that it stays until the
    process ends. On other systems nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, or another library of C
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, _MOST)
