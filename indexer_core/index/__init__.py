"""The index: immutable segments, numbered manifests, and the reader that searches them."""
