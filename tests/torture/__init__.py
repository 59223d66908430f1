"""Real processes over one index, killed at every point: `python -m tests.torture`."""
