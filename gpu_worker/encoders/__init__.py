"""Encoders that need torch, and their export to files that need none."""
