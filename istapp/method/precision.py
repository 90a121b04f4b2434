"""Which layout and number format a machine multiplies fastest in."""

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def lay_out(network: M, how: torch.memory_format = torch.channels_last) -> M:
    """Store a network's kernels in a layout, the one that convolutions are fast in by default, and return it."""
    network.to(memory_format=how)  # type: ignore[call-overload]  # which torch allows and does not declare
    return network


def native(device: str | torch.device) -> str:
    """Return ``bfloat16`` where the device multiplies in it; else ``float16`` on a GPU and ``float32`` on a processor.

    A processor without instructions for bfloat16 emulates them, eight times as slowly as it computes in float32.
    """
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    able = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch cannot tell
    return "bfloat16" if able.get("amx_bf16") or able.get("avx512_bf16") else "float32"


def exact_float32() -> None:
    """Let a GPU multiply float32 in float32, as a processor does, and not in TF32 with its ten bits."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
