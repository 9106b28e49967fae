"""What the model server does when things go wrong, measured: `python -m benchmarks.reliability`."""
