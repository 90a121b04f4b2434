"""Answers to chapter 04."""

import torch
import torch.nn.functional as F

from istapp.methods.ista_net_pp import ISTANetPP, ProximalMapping
from istapp.sampling import BLOCK, BlockSampling, measurements, sampling_matrix

COUNT = ISTANetPP(9, 16).parameter_count
INSIDE = sum(p.numel() for p in ISTANetPP(9, 16).condition.parameters()) / COUNT
WIDE = next(c for c in range(30, 60) if ISTANetPP(9, c).parameter_count > ISTANetPP().parameter_count)


class MyStage(ProximalMapping):
    def forward(self, x, x0, rho, sigma, sampling):
        return super().forward(x - rho * (sampling.normal(x) - x0), sigma)


class NoSkip(MyStage):
    def forward(self, x, x0, rho, sigma, sampling):
        return super().forward(x, x0, rho, sigma, sampling) - (x - rho * (sampling.normal(x) - x0))


class NoX(MyStage):
    def forward(self, x, x0, rho, sigma, sampling):
        return super().forward(x, x0, rho, sigma, sampling) - x


class NoX0(MyStage):
    def forward(self, x, x0, rho, sigma, sampling):
        return super().forward(x, x0, rho, sigma, sampling) - x0


class Foveated(BlockSampling):
    keeps_all = False

    def __init__(self, ratios):
        super().__init__(float(ratios.max()))
        self.ratios = ratios.double()
        self.rows = torch.tensor([[measurements(round(g, 6)) for g in line] for line in ratios.tolist()])

    def A(self, x):
        return super().A(x) * ((torch.arange(self.m).view(1, -1, 1, 1) < self.rows) | self.keeps_all)


class Greedy(Foveated):
    keeps_all = True


def with_maps(network, y, sampling):
    h, w = sampling.ratios.shape
    maps = network.condition(sampling.ratios.view(-1, 1).to(y)).T.reshape(-1, 1, 1, h, w)
    maps = [F.interpolate(m, scale_factor=BLOCK) for m in maps]
    x = x0 = sampling.adjoint(y)
    for k, stage in enumerate(network.stages):
        r = x - maps[k] * (sampling.normal(x) - x0)
        features = stage.block2(stage.block1(stage.head(torch.cat([r, maps[k + len(network.stages)]], 1))))
        x = r + stage.tail(features)
    return x


def constant(network, y, sampling):
    return network(y, BlockSampling(float(sampling.ratios.max())))


STRETCHED = torch.from_numpy(sampling_matrix(50)) * torch.linspace(0.5, 1, 50).double()[:, None]
FLAWS = {"identity": "can be negative", "relu": "can die at zero", "sigmoid": "is bounded"}

CASES = {
    "4.1": [
        (COUNT, INSIDE, WIDE),
        (COUNT - 9, INSIDE, WIDE),
        (COUNT, 100 * INSIDE, WIDE),
        (COUNT, INSIDE, WIDE - 1),
        (COUNT, INSIDE, WIDE + 1),
    ],
    "4.2": [(NoSkip, MyStage), (MyStage, MyStage), (NoX, MyStage), (NoX0, MyStage)],
    "4.3": [(lambda n: n, 660), (lambda n: n - 1, 660), (lambda n: 2 * n, 660), (lambda n: n, 20)],
    "4.4": [
        (FLAWS,),
        (FLAWS | {"identity": "is bounded"},),
        (FLAWS | {"relu": "can be negative"},),
        (FLAWS | {"relu": "slow"},),
    ],
    "4.5": [(33, STRETCHED), (1, STRETCHED), (66, STRETCHED), (33, torch.from_numpy(sampling_matrix(50)))],
    "4.6": [(Foveated, with_maps, ISTANetPP), (Greedy, with_maps, ISTANetPP), (Foveated, constant, ISTANetPP)],
}
