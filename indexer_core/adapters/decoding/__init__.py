"""Decoding in child processes: a hostile file takes down a child, not the program (ADR 0021)."""

from indexer_core.adapters.decoding.children import ChildLimits, DecodingChildren

__all__ = ["ChildLimits", "DecodingChildren"]
