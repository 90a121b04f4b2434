"""ISTA and FISTA on problems whose solution is known, and what the proofs of chapter 02 promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from istapp.basics.errors import UserError
from istapp.sampling import BlockSampling
from istapp.solvers.priors import BlockDCT, Wavelet, soft
from istapp.solvers.proximal import fista, ista, objective, optimality_residual


class L1:
    """The l1 norm itself: with it the solvers solve the lasso."""

    def value(self, x: Tensor) -> Tensor:
        return x.abs().flatten(1).sum(1)

    def prox(self, v: Tensor, t: float) -> Tensor:
        return soft(v, t)


class Dense:
    """A plain matrix acting on (B, 1, 1, n) vectors."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.norm = float(torch.linalg.matrix_norm(matrix, 2) ** 2)

    def A(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix


def lasso(seed: int = 0, m: int = 20, n: int = 40, lam: float = 0.1) -> tuple[Dense, Tensor, Tensor]:
    """Return operator, measurements and the known minimiser, built from its optimality condition.

    For a full-rank A choose x and a subgradient s of its l1 norm, and y so that A^T(y - A x) = lam s.
    """
    random = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, n, generator=random, dtype=torch.float64) / m**0.5
    dual = torch.randn(m, generator=random, dtype=torch.float64)
    dual /= (matrix.T @ dual).abs().max()
    s = matrix.T @ dual
    # Only where |s| = 1 may x differ from zero.
    support = (s.abs() > 1 - 1e-12).nonzero().flatten()
    x = torch.zeros(n, dtype=torch.float64)
    x[support] = s[support].sign() * 0.7
    y = matrix @ x + lam * dual
    return Dense(matrix), y.view(1, 1, 1, m), x.view(1, 1, 1, n)


@given(st.integers(0, 30), st.sampled_from([ista, fista]))
@settings(max_examples=12)
def test_the_known_lasso_solution_is_found(seed: int, solver) -> None:
    operator, y, solution = lasso(seed)
    found = solver(y, operator, L1(), 0.1, iterations=4000, step=1 / operator.norm, track=False).x
    assert optimality_residual(solution, y, operator, L1(), 0.1) < 1e-12
    assert optimality_residual(found, y, operator, L1(), 0.1) < 1e-5
    least = objective(solution, y, operator, L1(), 0.1).item()
    assert objective(found, y, operator, L1(), 0.1).item() == pytest.approx(least, rel=1e-6)


@pytest.fixture(scope="module")
def problem() -> tuple[BlockSampling, Tensor, Tensor]:
    """A smooth picture of 2 x 2 blocks with some texture, measured at 20 %."""
    rows, columns = torch.meshgrid(*(torch.linspace(0, 3, 66, dtype=torch.float64),) * 2, indexing="ij")
    x = (0.5 + 0.3 * torch.sin(rows * columns) + 0.1 * torch.cos(9 * columns)).view(1, 1, 66, 66)
    sampling = BlockSampling(0.2)
    return sampling, sampling.A(x), x


@pytest.mark.parametrize("prior", [BlockDCT(), Wavelet()], ids=["dct", "wavelet"])
@pytest.mark.parametrize("step", [0.3, 1.0])
def test_ista_descends_for_steps_up_to_one_over_l(problem, prior, step: float) -> None:
    sampling, y, _ = problem
    falling = ista(y, sampling, prior, 0.01, iterations=60, step=step).history["objective"]
    assert all(after <= before * (1 + 1e-12) for before, after in zip(falling, falling[1:]))
    assert falling[-1] < falling[0]


def test_ista_converges_up_to_the_bound_and_diverges_past_it(problem) -> None:
    sampling, y, _ = problem
    start = torch.rand(1, 1, 66, 66, dtype=torch.float64)
    inside = ista(y, sampling, BlockDCT(), 1e-3, iterations=80, step=1.95, start=start).history["objective"]
    beyond = ista(y, sampling, BlockDCT(), 1e-3, iterations=80, step=2.2, start=start, beyond_bound=True)
    assert inside[-1] < inside[0]
    assert beyond.history["objective"][-1] > 1e3 * beyond.history["objective"][0]


def test_the_rates_of_the_proofs_hold(problem) -> None:
    """F(x_k) - F* <= L |x_0 - x*|^2 / (2k) for ISTA, 2 L |x_0 - x*|^2 / (k+1)^2 for FISTA."""
    sampling, y, _ = problem
    prior, lam = BlockDCT(), 0.01
    best = fista(y, sampling, prior, lam, iterations=500, track=False).x
    least = objective(best, y, sampling, prior, lam).item()
    start = sampling.adjoint(y)
    distance = (start - best).square().sum().item()
    slow = ista(y, sampling, prior, lam, iterations=100).history["objective"]
    fast = fista(y, sampling, prior, lam, iterations=100).history["objective"]
    for k in range(1, 101):
        assert slow[k] - least <= distance / (2 * k) + 1e-9
        assert fast[k] - least <= 2 * distance / (k + 1) ** 2 + 1e-9
    assert fast[-1] < slow[-1]


def test_the_history_tells_the_truth(problem) -> None:
    sampling, y, x = problem
    solution = ista(y, sampling, Wavelet(), 0.01, iterations=5, reference=x)
    assert {len(values) for values in solution.history.values()} == {6}
    assert solution.history["objective"][-1] == objective(solution.x, y, sampling, Wavelet(), 0.01).item()
    assert solution.history["residual"][-1] == optimality_residual(solution.x, y, sampling, Wavelet(), 0.01)
    assert solution.history["psnr"][-1] > solution.history["psnr"][0]
    assert ista(y, sampling, Wavelet(), 0.01, iterations=5, track=False).history == {}


def test_going_on_from_an_iterate_is_the_same_run(problem) -> None:
    sampling, y, _ = problem
    whole = ista(y, sampling, Wavelet(), 0.01, iterations=9, track=False).x
    half = ista(y, sampling, Wavelet(), 0.01, iterations=4, track=False).x
    assert torch.equal(ista(y, sampling, Wavelet(), 0.01, iterations=5, start=half, track=False).x, whole)


@pytest.mark.parametrize(
    ("solver", "change"),
    [
        (ista, {"step": 2.0}),
        (fista, {"step": 1.1}),
        (ista, {"step": 0}),
        (ista, {"lam": -1}),
        (ista, {"lam": float("nan")}),
    ],
)
def test_what_cannot_converge_is_refused(problem, solver, change: dict) -> None:
    sampling, y, _ = problem
    with pytest.raises(UserError):
        solver(y, sampling, Wavelet(), **{"lam": 0.1, "iterations": 1, **change})
