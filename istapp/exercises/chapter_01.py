"""Checks of the exercises of chapter 01: sampling an image by blocks."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from istapp.exercises.answers import ask, check, close, normal, number, require, seeded, tensor, truth
from istapp.sampling import CUSTOMARY, BlockSampling, measurements, pad


@check("1.1")
def check_1_1(missed: Mapping[str, Sequence[float]], short: float) -> str:
    """Which rounding gives the customary numbers of measurements?

    Args:
        missed: for "down", "up" and "to nearest", the ratios at which this rounding misses the customary number.
        short: by which share a ratio named 1 % has fewer measurements than its name says, a fraction.
    """
    for name, rule in {"down": math.floor, "up": math.ceil, "to nearest": round}.items():
        require(name in missed, f'`missed` has no entry "{name}".')
        true = {p / 100 for p, m in CUSTOMARY.items() if rule(round(10.89 * p, 6)) != m}
        named = {round(float(ratio), 6) for ratio in missed[name]}
        require(named <= true, f"Rounding {name} meets the customary number at one of the ratios that you name.")
        require(named == true, f"Rounding {name} misses at a ratio that you do not name. Have you tried all eight?")
    true_share = 1 - measurements(0.01) / 10.89
    apart = abs(number(short, "`short`") - true_share)
    require(
        apart < 0.002, "The three roundings are right. `short` is not: compare 10 measurements with 1 % of the pixels."
    )
    return "No single rounding explains all eight numbers, and 1 % falls short of its name by a twelfth."


@check("1.2")
def check_1_2(adjoint: Callable[..., Tensor], identity: bool, bounded: bool) -> str:
    """What is the adjoint of "pad, then measure"?

    Args:
        adjoint: maps (v, sampling, height, width), v (B, m, h, w), to an image (B, 1, height, width).
        identity: whether A A^T is the identity.
        bounded: whether the Lipschitz constant of the gradient is at most 1.
    """
    for trial, (height, width) in enumerate(((40, 20), (33, 50), (66, 66))):
        sampling = BlockSampling(0.1, seed=trial)
        u = normal(2, 1, height, width, seed=trial)
        measured = sampling.A(pad(u)[0])
        v = normal(*measured.shape, seed=trial + 9)
        back = tensor(ask(adjoint, v, sampling, height, width), u.shape, f"the adjoint of a {height} x {width} image")
        require(
            close((measured * v).sum(), (u * back).sum(), 1e-8),
            "The dot test (1.5) fails: the inner product of A u and v is not that of u and A^T v. Which of the two "
            "steps has no counterpart on the way back, or the wrong one?",
        )
    require(
        not truth(identity, "`identity`"),
        "The adjoint is right. Now A A^T: what does A^T make of numbers from an empty block?",
    )
    require(truth(bounded, "`bounded`"), "The adjoint is right. Now the constant: can padding make an image larger?")
    return "The dot test holds at three sizes. Blocks without a pixel spoil A A^T = I, and a step of 1 stays safe."


@check("1.3")
def check_1_3(share: Callable[[int, int], tuple[float, float]]) -> str:
    """Which mean and variance has the share of energy that a camera keeps?

    Args:
        share: maps (m, N) to the mean and the variance of the share of a white-noise vector's energy that m of N
            orthonormal measurements keep.
    """
    for m, n in ((2, 6), (5, 9), (30, 60)):
        answer = ask(share, m, n)
        require(isinstance(answer, tuple | list) and len(answer) == 2, "`share` should return two numbers.")
        mean, variance = (number(value, "each of the two") for value in answer)
        energy = normal(200_000, n, seed=m).square()  # a rotation lets the rows be the first m coordinates
        seen = energy[:, :m].sum(1) / energy.sum(1)
        require(abs(mean - seen.mean()) < 0.005, f"With m = {m} of N = {n} the mean of 200,000 trials is another one.")
        require(
            abs(variance / seen.var() - 1) < 0.03,
            f"The mean is right. With m = {m} of N = {n} the variance of 200,000 trials is "
            f"{'larger' if seen.var() > variance else 'smaller'} than yours. Which Beta distribution is it?",
        )
    return "Mean and variance agree with 200,000 trials at three sizes."


@check("1.4")
def check_1_4(coherence: Callable[[Tensor], float], powers: tuple[int, int]) -> str:
    """How far apart does a matrix keep its columns, and what does a block cost?

    Args:
        coherence: maps a matrix (m, N) to the largest cosine between two different columns.
        powers: of the block's side B, at a fixed ratio: how arithmetic per pixel grows, and how memory does.
    """
    star = torch.tensor([[0.0, 3**0.5 / 2, -(3**0.5) / 2], [1.0, -0.5, -0.5]], dtype=torch.float64)
    require(
        close(number(ask(coherence, star), "the coherence"), 0.5, 1e-5),
        "Three vectors in the plane at 120 degrees meet Welch's bound, 1/2. Yours is another number: have you left "
        "out the diagonal, and taken absolute values?",
    )
    matrix = normal(6, 20)
    stretched = matrix * torch.linspace(0.2, 3, 20).double()
    one, other = (number(ask(coherence, a), "the coherence") for a in (matrix, stretched))
    require(close(one, other, 1e-5), "Longer columns change your coherence. It is about directions only.")
    require(one >= math.sqrt(14 / (6 * 19)), "Yours lies below Welch's bound, which nothing does.")
    twice = torch.cat([matrix, -matrix[:, :1]], 1)
    require(close(ask(coherence, twice), 1, 1e-5), "A column and its negative lie on one line: the coherence is 1.")
    columns = matrix / matrix.norm(dim=0)
    pairs = [float((columns[:, i] @ columns[:, j]).abs()) for i in range(20) for j in range(i)]
    require(close(one, max(pairs), 1e-5), "It is the largest cosine over pairs that is asked for.")
    work, memory = (number(power, "a power") for power in powers)
    require(work == 2, "The coherence is right. The first power is not: how many rows does each pixel meet?")
    require(memory == 4, "The coherence is right. The second power is not: count the entries of Phi.")
    return "The coherence is right on frames that are known, and the price of a block as well."


@check("1.5")
def check_1_5(matrix: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """Which matrix recovers best from noisy measurements?

    Args:
        matrix: maps C (N, N), Phi (m, N) and sigma to Q (N, m).
    """
    for trial, sigma in enumerate((0.05, 0.5, 2.0)):
        root, phi = normal(12, 12, seed=trial), torch.linalg.qr(normal(12, 4, seed=trial + 5))[0].T
        second = root @ root.T
        answer = ask(matrix, second, phi, sigma)
        q = tensor(answer, (12, 4), "Q")

        def error(q: Tensor, second: Tensor = second, phi: Tensor = phi, sigma: float = sigma) -> float:
            rest = torch.eye(12).double() - q @ phi
            return float((rest @ second @ rest.T).trace() + sigma**2 * q.square().sum())

        for seed in range(20):
            nearby = q + 1e-3 * normal(12, 4, seed=100 + seed)
            require(
                error(nearby) > error(q) - 1e-9,
                f"At sigma = {sigma} a small change of your matrix lowers the expected error, so it is not the best. "
                "Which term does the noise add to (1.14), and with which power of sigma?",
            )
        require(
            close(q @ (phi @ second @ phi.T + sigma**2 * torch.eye(4).double()), second @ phi.T, 1e-6),
            "The derivative of the expected error is not zero at your matrix.",
        )
    return "No change of your matrix lowers the expected error, at three levels of noise."


@check("1.6")
def check_1_6(best_rows: Callable[[Tensor, int], Tensor]) -> str:
    """Which m rows leave the smallest expected error (1.14)?

    Args:
        best_rows: maps C (N, N) and m to orthonormal rows (m, N).
    """
    root = normal(20, 20) * torch.logspace(0, -2, 20).double()
    second = root @ root.T
    for m in (1, 5, 12):
        rows = tensor(ask(best_rows, second, m), (m, 20), f"the best {m} rows")
        require(close(rows @ rows.T, torch.eye(m), 1e-6), "The rows should be orthonormal.")
        reached = float((rows @ second @ rows.T).trace())
        rivals = [torch.linalg.qr(torch.randn(20, m, generator=seeded(s)).double())[0].T for s in range(50)]
        most = max(float((rival @ second @ rival.T).trace()) for rival in rivals)
        require(reached >= most, "Some rows drawn at random reach more of C than yours.")
        require(
            close(reached, torch.linalg.eigvalsh(second)[-m:].sum(), 1e-9),
            "Yours beat random rows, and other rows reach still more of C. In which directions is most of it?",
        )
    return "Yours reach as much of C as any rows can. They have seen photographs; a random camera has not."
