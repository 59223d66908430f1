"""What others do between two requests."""

from indexer_core.testing.faults import PassThrough


class BetweenRequests(PassThrough):
    """Does something once, before the k-th request."""

    def __init__(self, at, meanwhile) -> None:
        self.at, self.meanwhile, self.n = at, meanwhile, 0

    def read(self, operation, call):
        return self.write(operation, call)

    def write(self, operation, call):
        self.n += 1
        if self.n == self.at:
            self.meanwhile()
        return call()
