"""In-memory adapters, fault wrappers, contract suites and strategies for tests."""
