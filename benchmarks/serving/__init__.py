"""Served sessions under load: each subject is a program, `python -m benchmarks.serving.NAME`."""
