"""The functions: events in, series out, search."""
