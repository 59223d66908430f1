"""Queues and rows of one machine, in SQLite files."""
