"""The map: parametric UMAP that grows without moving (ADR 0027)."""
