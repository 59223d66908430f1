"""The command line and the one-machine runner that hosts the other two programs."""
