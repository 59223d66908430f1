"""Contract suites: one class per port, run on every adapter of that port.

A subclass provides the fixtures that its base class names and inherits the test methods.
"""
