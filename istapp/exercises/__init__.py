"""Exercises that check themselves: a module for each chapter, a function for each exercise.

A check takes the reader's answer and says in words what is right, or which property fails. It tries properties on
random examples where it can, so that any right answer passes, however it was found. The worked solutions of the
chapters pass the same checks.
"""
