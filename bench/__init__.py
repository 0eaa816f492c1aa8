"""Benchmarks: figures beside this machine's own limits, as ratios taken in one run.

``python -m bench [PREFIX]`` (``make bench NAME=PREFIX``) runs those that have a figure of the
prefix, and tells all their figures. ``harness`` has what all share; each other module measures one
subject and lists its benchmarks in ``__main__``. Nothing here is a test: a figure that misses its
target is printed.
"""
