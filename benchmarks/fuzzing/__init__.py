"""The parts of `benchmarks/fuzz.py`: servers that fail at random, calls and openings while they do, and the checks."""
