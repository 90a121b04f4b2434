"""The conventional solvers: ISTA and FISTA for any prior, and approximate message passing for any denoiser."""

from istapp.solvers.proximal import Operator, Solution, fista, gradient, ista, objective, optimality_residual

__all__ = ["Operator", "Solution", "fista", "gradient", "ista", "objective", "optimality_residual"]
