"""Infrastructure: templates in `bicep`, and their check in `check`."""
