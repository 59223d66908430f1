"""What can go wrong with a request."""


class ApiProblemError(Exception):
    """The service refused: a problem document (RFC 9457).

    status: of HTTP. code: stable, to be compared with; for example ``invalidInput``, ``notFound``,
    ``manifestExpired``, ``notOnThisHome``. detail: for people, "" where there is none.
    """

    def __init__(self, status: int, code: str, title: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail or title}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail


class UnreachableError(Exception):
    """The service was not reached, or its answer was cut off."""
