"""Answers to chapter 07."""

from statistics import fmean

import numpy as np

from istapp.paper.printed import TABLE1


def wrong(rows, columns=("set11", "bsd68"), off=0.0101):
    found = []
    for row in rows:
        for column in columns:
            values, mean = getattr(row, column), getattr(row, f"{column}_average")
            if mean is not None and abs(fmean(values) - mean) >= off:
                found.append(row.label)
    return found


def pooled(p):
    return -10 * np.log10((10 ** (-np.asarray(p) / 10)).mean())


def paired(one, two, half):
    return (1.96 * np.std(one - two) / half) ** 2


def unpaired(one, two, half):
    return (1.96 / half) ** 2 * (np.var(one) + np.var(two))


def spearman(one, two):
    return np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(two)))[0, 1]


ROWS = [row for row in TABLE1 if row.bsd68[0] is not None and row.set11[0] is not None]
PLACES = [np.argsort(np.argsort([-v[0] for v in c])) for c in ([r.bsd68 for r in ROWS], [r.set11 for r in ROWS])]
MOVED = [row.label for row, i, j in zip(ROWS, *PLACES) if abs(i - j) >= 2]

CASES = {
    "7.1": [
        (wrong, 0),
        (lambda rows: wrong(rows, ("set11",)), 0),
        (lambda rows: wrong(rows, off=0.0), 0),
        (lambda rows: [], 0),
        (wrong, 1),
    ],
    "7.2": [
        (pooled, "if all errors are equal"),
        (lambda p: np.mean(p), "if all errors are equal"),
        (lambda p: 10 * np.log10((10 ** (np.asarray(p) / 10)).mean()), "if all errors are equal"),
        (lambda p: np.min(p), "if all errors are equal"),
        (pooled, "never"),
    ],
    "7.3": [
        (paired, unpaired),
        (unpaired, unpaired),
        (paired, paired),
        (lambda one, two, half: 1.96 * np.std(one - two) / half, unpaired),
    ],
    "7.4": [
        (spearman, MOVED),
        (lambda one, two: np.corrcoef(one, two)[0, 1], MOVED),
        (lambda one, two: np.corrcoef(np.argsort(one), np.argsort(two))[0, 1], MOVED),
        (spearman, ["ISTA-Net++"]),
        (spearman, [] if MOVED else ["DIP"]),
    ],
}
