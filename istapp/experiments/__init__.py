"""Runs and rows: every training run as data, the queue that works them off, evaluation, tuning and timings."""
