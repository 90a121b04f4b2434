"""Answers to chapter 03."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from istapp.solvers import priors

M, N = 8, 16
A = F.normalize(torch.randn(M, N, generator=torch.Generator().manual_seed(0)).double(), dim=0)
L = float(torch.linalg.eigvalsh(A.T @ A)[-1])


class Lista(nn.Module):
    def __init__(self, K, lam=0.2):
        super().__init__()
        self.W = nn.Parameter((A.T / L).repeat(K, 1, 1))
        self.V = nn.Parameter((torch.eye(N) - A.T @ A / L).repeat(K, 1, 1))
        self.theta = nn.Parameter(torch.full((K,), lam / L, dtype=torch.float64))

    def forward(self, y):
        x = torch.zeros(len(y), N).to(y)
        for W, V, theta in zip(self.W, self.V, self.theta):
            x = priors.soft(y @ W.T + x @ V.T, theta)
        return x


def unrolled(early=0, momentum=True):
    class UnrolledFISTA(nn.Module):
        def __init__(self, K):
            super().__init__()
            t = [1.0, 1.0]
            while len(t) < K + 3:
                t.append((1 + math.sqrt(1 + 4 * t[-1] ** 2)) / 2)
            beta = [(a - 1) / b * momentum for a, b in zip(t, t[1:])]
            self.beta = nn.Parameter(torch.tensor(beta[early : early + K], dtype=torch.float64))

        def forward(self, y):
            x = before = torch.zeros(len(y), N).to(y)
            for beta in self.beta:
                z = x + beta * (x - before)
                before, x = x, priors.soft(z - (z @ A.T - y) @ A / L, 0.2 / L)
            return x

    return UnrolledFISTA


class Coupled(Lista):
    def forward(self, y):
        x = torch.zeros(len(y), N).to(y)
        for W, theta in zip(self.W, self.theta):
            x = priors.soft(x + (y - x @ A.T) @ W.T, theta)
        return x


class Alone(Coupled):
    def forward(self, y):
        return priors.soft(y @ self.W[0].T, self.theta[0])


class Stage(nn.Module):
    def __init__(self, scale=1e6, share=9.0):
        super().__init__()
        d = torch.from_numpy(priors.dct_matrix(3))
        patterns = torch.einsum("ai,bj->abij", d, d).reshape(9, 1, 3, 3)
        scales = torch.ones(9, 1, 1, 1).double()
        scales[0] = scale

        def conv(a, b):
            return nn.Conv2d(a, b, 3, padding=1, bias=False)

        self.H = nn.Sequential(conv(1, 18), nn.ReLU(), conv(18, 18)).double().requires_grad_(False)
        self.H_back = nn.Sequential(conv(18, 18), nn.ReLU(), conv(18, 1)).double().requires_grad_(False)
        for weight in self.parameters():
            weight.zero_()
        self.H[0].weight.copy_(torch.cat([patterns * scales, -patterns * scales]))
        for i in range(9):
            self.H[2].weight[i, i, 1, 1], self.H[2].weight[i, i + 9, 1, 1] = 1, -1
            self.H_back[0].weight[i, i, 1, 1], self.H_back[0].weight[i + 9, i, 1, 1] = 1, -1
        back = patterns / scales / share
        self.H_back[2].weight.copy_(torch.cat([back, -back]).flip(-1, -2).transpose(0, 1))


Y = torch.randn(6, M, generator=torch.Generator().manual_seed(1)).double()
KNOWN = Lista(4)
TYPICAL = Y.norm(dim=1).median()


def normalised(y):
    loudness = y.norm(dim=1, keepdim=True).clamp(min=1e-9) / TYPICAL
    return loudness * KNOWN(y / loudness)


def in_batch(y):
    return KNOWN(y / y.norm() * Y.norm()) * y.norm() / Y.norm()


CASES = {
    "3.1": [
        (N * N, "their input is zero", Lista(3), Y),
        (N * M, "their input is zero", Lista(3), Y),
        (3 * N * N, "their input is zero", Lista(3), Y),
        (N * N, "they cancel", Lista(3), Y),
    ],
    "3.2": [(unrolled(), A), (unrolled(momentum=False), A), (unrolled(early=1), A), (lambda K: unrolled()(K + 1), A)],
    "3.3": [
        (normalised, KNOWN, Y),
        (KNOWN, KNOWN, Y),
        (in_batch, KNOWN, Y),
        (lambda y: 0 * KNOWN(y), KNOWN, Y),
    ],
    "3.4": [(Stage(),), (Stage(scale=1.0),), (Stage(share=1.0),), (Stage(scale=2.0),)],
    "3.5": [(Coupled, A), (Lista, A), (Alone, A)],
}
