"""The worker: series in, one committed segment per batch out. Torch models live here only."""
