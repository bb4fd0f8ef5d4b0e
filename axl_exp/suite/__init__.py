"""Suites: the same cases on two commits, run in turns, and a verdict on every metric of each."""
