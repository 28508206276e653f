"""What a gateway adds to a call: each subject is a program, `python -m benchmarks.gateway.NAME`."""
