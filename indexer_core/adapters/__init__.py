"""Adapters: what stands behind the ports, one file per technology.

Nothing here is imported by the core, and no adapter imports another; a program's `wiring.py`
chooses among them.
"""
