"""Answers to chapter 12."""

from collections import Counter

import numpy as np

FIRST = "before the numbers are seen"
WHY = "the difference of two draws spreads more than one"


def holding(differences, tolerance):
    return sum(d >= -tolerance for d in differences)


def out_of_line(values):
    steps = np.diff(values)
    return int(np.argmax((steps[:-2] + steps[2:]) / 2 - steps[1:-1])) + 1


def replicated(n, both=True):
    random = np.random.default_rng(1)
    published, ours = random.normal(0, 0.2, (2, 20_000))
    spread = random.normal(0, 0.2, (20_000, n)).std(1, ddof=1)
    return np.mean(np.abs(ours - both * published) <= np.maximum(0.1, 2 * spread))


def order(waits, minutes):
    count = Counter(run for runs in waits for run in runs)
    return sorted(count, key=lambda run: -count[run] / minutes[run])


CASES = {
    "12.1": [
        (holding, FIRST),
        (lambda differences, tolerance: sum(abs(d) <= tolerance for d in differences), FIRST),
        (lambda differences, tolerance: len(differences), FIRST),
        (holding, "after"),
    ],
    "12.2": [
        (out_of_line,),
        (lambda values: out_of_line(values) - 1,),
        (lambda values: int(np.argmin(np.diff(values))),),
        (lambda values: int(np.argmax(np.diff(values))),),
    ],
    "12.3": [
        (replicated, WHY),
        (lambda n: replicated(n, both=False), WHY),
        (lambda n: 0.95, WHY),
        (replicated, "0.1 dB is too strict"),
    ],
    "12.5": [
        (order, "what a number means"),
        (lambda waits, minutes: order(waits, minutes)[::-1], "what a number means"),
        (lambda waits, minutes: sorted(minutes, key=minutes.get), "what a number means"),
        (lambda waits, minutes: order(waits, dict.fromkeys(minutes, 1.0)), "what a number means"),
        (order, "how long a run takes"),
    ],
}
