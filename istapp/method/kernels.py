r"""The proximal mapping of ISTA-Net++ by kernels of our own, for an Nvidia GPU: what a training step needs, fused.

With 32 channels a convolution of 3 x 3 has so few operations for each byte that its floor on a GPU is the memory's: how
often the features (B, C, H, W) are read and written. Bias, ReLU, sum and, on the way back, the ReLU's mask are
therefore part of the convolution that writes them, and the layers with one channel on a side (head and tail) have
kernels that multiply no padding. Features lie channels last in bfloat16, sums are float32, images stay float32.

============  ==========================================================================================
`_mix`        C -> C channels: both convolutions of a block, and with flipped kernels their gradients
`_widen`      1 (or 2) -> C: the head, and the gradient of the tail's input
`_narrow`     C -> 1: the tail, and the gradient of the head's input
`_mix_grad`   the gradient of a C x C kernel and of its bias
`_thin_grad`  the gradient of the kernels of head and tail, and of the noise level
============  ==========================================================================================

A pixel is one of the P = B H W of a batch, and a tap one of the nine of a kernel, row by row. Triton is no dependency:
it comes with PyTorch for such a GPU, and this file is imported there alone (and by its tests, which interpret it).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportCallIssue=false
# What Triton's decorator returns takes a grid in brackets and options, which a checker of types cannot know
# (checked with Triton installed, and without).

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from istapp.sampling import exactly

#: Pixels that a program takes at a time and its warps, by kernel: the fastest of those tried on an H200. And its loads
#: in flight, where only those of `_mix` have been varied: what loads ahead passes by the nearest cache.
PIXELS = {"mix": 64, "widen": 128, "narrow": 64, "mix_grad": 64, "thin_grad": 64}
WARPS = {"mix": 4, "widen": 4, "narrow": 4, "mix_grad": 8, "thin_grad": 8}
AHEAD = {"mix": 2, "widen": 1, "narrow": 1, "mix_grad": 1, "thin_grad": 1}

#: Programs that share the pixels of a batch, two for each multiprocessor of such a GPU, and those for each image.
PROGRAMS, SPLITS = 264, 8

#: The features' number format.
FEATURES = torch.bfloat16

#: Channels that the kernels can have: a tile of the matrix units is at least 16 wide.
CHANNELS = (16, 32, 64)

#: Numbers that the kernels' 32-bit indices can tell apart.
LARGEST = 2**31


def proximal_mapping(stage: Any, r: Tensor, sigma: Tensor | None) -> Tensor:
    """Map r (B, 1, H, W) float32 and sigma (1 or B,) to x, as the `stage`, a `ProximalMapping`, does in bfloat16.

    Raises:
        ValueError: the number of channels is none of `CHANNELS`, r is not float32, or it is too large.
    """
    channels = stage.tail.weight.shape[1]
    if channels not in CHANNELS or r.dtype != torch.float32:
        raise ValueError(f"there are kernels for float32 images and {CHANNELS} channels, not {r.dtype} and {channels}")
    if r.numel() * channels >= LARGEST:
        raise ValueError(f"{channels} channels of {r.numel():,} pixels are more than the kernels can count")
    level = None if sigma is None else sigma.float().expand(len(r)).contiguous()
    convolutions = [
        stage.head, stage.block1.conv1, stage.block1.conv2, stage.block2.conv1, stage.block2.conv2, stage.tail
    ]  # fmt: skip
    weights = [tensor for convolution in convolutions for tensor in (convolution.weight, convolution.bias)]
    with exactly(r):
        return _ProximalMapping.apply(r, level, *weights)


class _ProximalMapping(torch.autograd.Function):
    """Head, two residual blocks, tail and long skip, with a backward pass by hand."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, sigma: Tensor | None, *weights: Tensor) -> Tensor:
        """Return x; the four features between the layers, and those under a ReLU, are kept."""
        head, head_bias, *middle, tail, tail_bias = weights
        kernels = torch.stack([_taps_inside(kernel) for kernel in middle[::2]]).to(FEATURES)
        r, edges = r.contiguous(), torch.cat([_taps_first(head).flatten(), _taps_first(tail).flatten()])
        features = [_widen_by(r, edges[: head.numel()], head_bias, sigma)]
        for i in (0, 2):
            inner = _mix_by(features[-1], kernels[i], r.shape, bias=middle[2 * i + 1], relu=True)
            outer = _mix_by(inner, kernels[i + 1], r.shape, bias=middle[2 * i + 3], skip=features[-1])
            features += [inner, outer]
        ctx.save_for_backward(r, sigma, kernels, edges, *features)
        return _narrow_by(features[-1], edges[head.numel() :], r, bias=tail_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of r, sigma and every weight, from that of x."""
        r, sigma, kernels, edges, *features = ctx.saved_tensors
        g, channels = g.contiguous(), features[0].shape[-1]
        head, tail = edges[: -9 * channels], edges[-9 * channels :]
        tail_grad, _ = _thin_grad_by(g, features[4])
        found = [tail_grad.sum(0).flip(0).T.reshape(1, channels, 3, 3), g.sum().view(1)]
        wide = _widen_by(g, tail, flip=True)
        for i in (2, 0):
            inner, before = features[i + 1], features[i]
            outer_grad = _mix_grad_by(inner, wide, r.shape)
            under = _mix_by(wide, kernels[i + 1], r.shape, mask=inner, flip=True)
            inner_grad = _mix_grad_by(before, under, r.shape)
            wide = _mix_by(under, kernels[i], r.shape, skip=wide, flip=True)
            found = [*inner_grad, *outer_grad, *found]
        by_image, plain = _thin_grad_by(r, wide)
        kernel_grad, sigma_grad = by_image.sum(0).T.reshape(channels, 1, 3, 3), None
        if sigma is not None:
            level = (sigma.view(-1, 1, 1) * plain).sum(0).T.reshape(channels, 1, 3, 3)
            kernel_grad = torch.cat([kernel_grad, level], 1)
            sigma_grad = (plain * head[9 * channels :].view(9, channels)).sum((1, 2))
        found = [kernel_grad, plain[:, 4].sum(0), *found]
        return _narrow_by(wide, head[: 9 * channels], g, flip=True), sigma_grad, *found


def _taps_inside(kernel: Tensor) -> Tensor:
    """Lay out a kernel (out, in, 3, 3) as (out, 9, in), which is how channels-last weights lie in memory."""
    return kernel.detach().permute(0, 2, 3, 1).flatten(1, 2)


def _taps_first(kernel: Tensor) -> Tensor:
    """Lay out a kernel of head or tail as (1 or 2, 9, C)."""
    kernel = kernel.detach().flatten(2)
    return kernel.permute(1, 2, 0) if kernel.shape[1] < kernel.shape[0] else kernel.permute(0, 2, 1)


# ------------------------------------------------------------ what starts the kernels


def _how(kernel: str) -> dict[str, int]:
    return {"num_warps": WARPS[kernel], "num_stages": AHEAD[kernel]}


def _mix_by(
    x: Tensor, kernel: Tensor, shape: torch.Size, bias: Tensor | None = None, skip: Tensor | None = None,
    mask: Tensor | None = None, relu: bool = False, flip: bool = False,
) -> Tensor:  # fmt: skip
    """Convolve features (P, C) with a kernel (out, 9, in), add bias and skip, cut at zero, keep where mask > 0.

    `flip` applies the adjoint of the convolution instead: taps in reverse order, in and out exchanged.
    """
    y, pixels = torch.empty_like(x), PIXELS["mix"]
    rounds = triton.cdiv(len(x), PROGRAMS * pixels)
    _mix[triton.cdiv(len(x), rounds * pixels),](
        x, kernel, bias, skip, mask, y, len(x), *shape[-2:], rounds, x.shape[1], bias is not None, skip is not None,
        mask is not None, relu, flip, pixels, **_how("mix"),
    )  # fmt: skip
    return y


def _widen_by(
    t: Tensor, kernel: Tensor, bias: Tensor | None = None, sigma: Tensor | None = None, flip: bool = False
) -> Tensor:
    """Convolve images (B, 1, H, W), and levels (B,) as a second channel, with a kernel (1 or 2, 9, C) to (P, C)."""
    channels, pixels = kernel.numel() // (9 if sigma is None else 18), PIXELS["widen"]
    y = t.new_empty((t.numel(), channels), dtype=FEATURES)
    _widen[triton.cdiv(t.numel(), pixels),](
        t, kernel, bias, sigma, y, t.numel(), *t.shape[-2:], channels, bias is not None, sigma is not None, flip,
        pixels, **_how("widen"),
    )  # fmt: skip
    return y


def _narrow_by(x: Tensor, kernel: Tensor, skip: Tensor, bias: Tensor | None = None, flip: bool = False) -> Tensor:
    """Convolve features (P, C) with a kernel (9, C) to one channel and add it to images `skip` (B, 1, H, W)."""
    y, pixels = torch.empty_like(skip), PIXELS["narrow"]
    _narrow[triton.cdiv(len(x), pixels),](
        x, kernel, bias, skip, y, len(x), *skip.shape[-2:], x.shape[1], bias is not None, flip, pixels,
        **_how("narrow"),
    )  # fmt: skip
    return y


def _mix_grad_by(x: Tensor, g: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Return the gradients of kernel (out, in, 3, 3) and bias (out,) from a layer's input and its output's gradient.

    Every program leaves its own sum, and the sums are added in order: the result is the same every time.
    """
    channels, pixels = x.shape[1], PIXELS["mix_grad"]
    programs = min(PROGRAMS, int(triton.cdiv(len(x), pixels)))
    sums = x.new_empty((programs, channels * (9 * channels + 1)), dtype=torch.float32)
    _mix_grad[programs,](
        x, g, sums, len(x), *shape[-2:], triton.cdiv(len(x), programs * pixels), channels, pixels,
        **_how("mix_grad"),
    )  # fmt: skip
    kernel, bias = sums.sum(0).split([9 * channels**2, channels])
    return kernel.view(channels, 3, 3, channels).permute(0, 3, 1, 2), bias


def _thin_grad_by(t: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for images t (B, 1, H, W) and features v (P, C), two tensors (B, 9, C) of sums over an image's pixels p.

    The first sums t(p + tap) v(p), the second v(p) alone, both where p + tap lies inside the image.
    """
    channels, area, pixels = v.shape[1], t.shape[-2] * t.shape[-1], PIXELS["thin_grad"]
    sums = t.new_empty((len(t), SPLITS, 32, channels))
    _thin_grad[len(t), SPLITS](
        t, v, sums, *t.shape[-2:], triton.cdiv(area, SPLITS * pixels), channels, SPLITS, pixels,
        **_how("thin_grad"),
    )  # fmt: skip
    both = sums.sum(1)
    return both[:, :9], both[:, 16:25]


# ------------------------------------------------------------ the kernels


@triton.jit
def _mix(
    x, kernel, bias, skip, mask, y, P, H, W, ROUNDS: tl.constexpr, C: tl.constexpr, BIAS: tl.constexpr,
    SKIP: tl.constexpr, MASK: tl.constexpr, RELU: tl.constexpr, FLIP: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, C)
    k0, k1, k2 = _tap(kernel, 0, C, FLIP), _tap(kernel, 1, C, FLIP), _tap(kernel, 2, C, FLIP)
    k3, k4, k5 = _tap(kernel, 3, C, FLIP), _tap(kernel, 4, C, FLIP), _tap(kernel, 5, C, FLIP)
    k6, k7, k8 = _tap(kernel, 6, C, FLIP), _tap(kernel, 7, C, FLIP), _tap(kernel, 8, C, FLIP)
    for i in range(ROUNDS):
        p = (tl.program_id(0) * ROUNDS + i) * PIXELS + tl.arange(0, PIXELS)
        total = tl.zeros((PIXELS, C), tl.float32)
        total = tl.dot(_at(x, p, P, H, W, -1, -1, C), k0, total)
        total = tl.dot(_at(x, p, P, H, W, -1, 0, C), k1, total)
        total = tl.dot(_at(x, p, P, H, W, -1, 1, C), k2, total)
        total = tl.dot(_at(x, p, P, H, W, 0, -1, C), k3, total)
        total = tl.dot(_at(x, p, P, H, W, 0, 0, C), k4, total)
        total = tl.dot(_at(x, p, P, H, W, 0, 1, C), k5, total)
        total = tl.dot(_at(x, p, P, H, W, 1, -1, C), k6, total)
        total = tl.dot(_at(x, p, P, H, W, 1, 0, C), k7, total)
        total = tl.dot(_at(x, p, P, H, W, 1, 1, C), k8, total)
        own, there = p[:, None] * C + c[None, :], (p < P)[:, None]
        if BIAS:
            total += tl.load(bias + c)[None, :]
        if SKIP:
            total += tl.load(skip + own, mask=there, other=0.0).to(tl.float32)
        if RELU:
            total = tl.maximum(total, 0.0)
        if MASK:
            total = tl.where(tl.load(mask + own, mask=there, other=0.0) > 0, total, 0.0)
        tl.store(y + own, total.to(y.dtype.element_ty), mask=there)


@triton.jit
def _tap(kernel, tap: tl.constexpr, C: tl.constexpr, FLIP: tl.constexpr):
    """Load a kernel's matrix (in, out) of one tap, or of the opposite one, (out, in)."""
    c = tl.arange(0, C)
    if FLIP:
        return tl.load(kernel + (8 - tap) * C + c[:, None] * (9 * C) + c[None, :])
    else:
        return tl.load(kernel + tap * C + c[:, None] + c[None, :] * (9 * C))


@triton.jit
def _at(x, p, P, H, W, down: tl.constexpr, right: tl.constexpr, C: tl.constexpr):
    """Load the features beside pixels p at one tap, (pixels, C): zero outside of the image."""
    row, column = (p // W) % H + down, p % W + right
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W) & (p < P)
    at = (p + down * W + right)[:, None] * C + tl.arange(0, C)[None, :]
    return tl.load(x + at, mask=inside[:, None], other=0.0)


@triton.jit
def _widen(
    t, kernel, bias, sigma, y, P, H, W, C: tl.constexpr, BIAS: tl.constexpr, SIGMA: tl.constexpr, FLIP: tl.constexpr,
    PIXELS: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.arange(0, C)
    row, column, image = (p // W) % H, p % W, p // (H * W)
    total = tl.zeros((PIXELS, C), tl.float32)
    if BIAS:
        total += tl.load(bias + c)[None, :]
    if SIGMA:
        level = tl.load(sigma + image, mask=p < P, other=0.0)
    for tap in tl.static_range(9):
        down, right = tap // 3 - 1, tap % 3 - 1
        inside = (row + down >= 0) & (row + down < H) & (column + right >= 0) & (column + right < W) & (p < P)
        here = tl.load(t + p + down * W + right, mask=inside, other=0.0)
        total += here[:, None] * tl.load(kernel + ((8 - tap) if FLIP else tap) * C + c)[None, :]
        if SIGMA:
            total += tl.where(inside, level, 0.0)[:, None] * tl.load(kernel + (9 + tap) * C + c)[None, :]
    tl.store(y + p[:, None] * C + c[None, :], total.to(y.dtype.element_ty), mask=(p < P)[:, None])


@triton.jit
def _narrow(
    x, kernel, bias, skip, y, P, H, W, C: tl.constexpr, BIAS: tl.constexpr, FLIP: tl.constexpr, PIXELS: tl.constexpr
):
    p = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.arange(0, C)
    row, column = (p // W) % H, p % W
    total = tl.zeros((PIXELS, C), tl.float32)
    for tap in tl.static_range(9):
        down, right = tap // 3 - 1, tap % 3 - 1
        inside = (row + down >= 0) & (row + down < H) & (column + right >= 0) & (column + right < W) & (p < P)
        here = tl.load(x + (p + down * W + right)[:, None] * C + c[None, :], mask=inside[:, None], other=0.0)
        total += here.to(tl.float32) * tl.load(kernel + ((8 - tap) if FLIP else tap) * C + c)[None, :]
    image = tl.sum(total, 1) + tl.load(skip + p, mask=p < P, other=0.0)
    if BIAS:
        image += tl.load(bias)
    tl.store(y + p, image, mask=p < P)


@triton.jit
def _mix_grad(x, g, sums, P, H, W, ROUNDS: tl.constexpr, C: tl.constexpr, PIXELS: tl.constexpr):
    program, c = tl.program_id(0), tl.arange(0, C)
    first = tl.zeros((4 * C, C), tl.float32)  # taps 0 to 3
    second, last = first, tl.zeros((2 * C, C), tl.float32)  # 4 to 7; 8, and ones for the bias
    for i in range(ROUNDS):
        p = (program * ROUNDS + i) * PIXELS + tl.arange(0, PIXELS)
        there = tl.load(g + p[:, None] * C + c[None, :], mask=(p < P)[:, None], other=0.0)
        first = tl.dot(tl.trans(_beside(x, p, P, H, W, 0, 4, C)), there, first)
        second = tl.dot(tl.trans(_beside(x, p, P, H, W, 4, 4, C)), there, second)
        last = tl.dot(tl.trans(_beside(x, p, P, H, W, 8, 2, C)), there, last)
    to = sums + program * C * (9 * C + 1) + c[:, None] * (9 * C)
    wide, narrow = tl.arange(0, 4 * C), tl.arange(0, 2 * C)
    tl.store(to + wide[None, :], tl.trans(first))
    tl.store(to + 4 * C + wide[None, :], tl.trans(second))
    tl.store(to + 8 * C + narrow[None, :], tl.trans(last), mask=(narrow < C)[None, :])
    bias = tl.sum(tl.where((narrow == C)[:, None], last, 0.0), 0)
    tl.store(sums + program * C * (9 * C + 1) + 9 * C * C + c, bias)


@triton.jit
def _beside(x, p, P, H, W, first: tl.constexpr, TAPS: tl.constexpr, C: tl.constexpr):
    """Load the features beside pixels p at some taps, side by side: (pixels, TAPS * C). A tenth tap is all ones."""
    k = tl.arange(0, TAPS * C)
    tap = first + k // C
    down, right = (tap // 3 - 1)[None, :], (tap % 3 - 1)[None, :]
    row, column = ((p // W) % H)[:, None] + down, (p % W)[:, None] + right
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W) & (p < P)[:, None] & (tap < 9)[None, :]
    found = tl.load(x + (p[:, None] + down * W + right) * C + (k % C)[None, :], mask=inside, other=0.0)
    return tl.where((tap == 9)[None, :], 1.0, found).to(x.dtype.element_ty) if first + TAPS > 9 else found


@triton.jit
def _thin_grad(t, v, sums, H, W, ROUNDS: tl.constexpr, C: tl.constexpr, SPLITS: tl.constexpr, PIXELS: tl.constexpr):
    image, part = tl.program_id(0), tl.program_id(1)
    c, k = tl.arange(0, C), tl.arange(0, 32)  # k: the nine taps, and from 16 on the nine taps again
    down, right = (k % 16) // 3 - 1, (k % 16) % 3 - 1
    total = tl.zeros((32, C), tl.float32)
    for i in range(ROUNDS):
        p = (part * ROUNDS + i) * PIXELS + tl.arange(0, PIXELS)
        row, column = (p // W)[None, :] + down[:, None], (p % W)[None, :] + right[:, None]
        inside = (row >= 0) & (row < H) & (column >= 0) & (column < W) & (p < H * W)[None, :]
        here = tl.load(t + image * H * W + row * W + column, mask=inside & (k < 9)[:, None], other=0.0)
        here = tl.where((k < 16)[:, None], here, inside.to(tl.float32))
        there = tl.load(
            v + (image * H * W + p)[:, None] * C + c[None, :], mask=(p < H * W)[:, None], other=0.0
        )  # fmt: skip
        total = tl.dot(here.to(v.dtype.element_ty), there, total)
    tl.store(sums + ((image * SPLITS + part) * 32 + k[:, None]) * C + c[None, :], total)
