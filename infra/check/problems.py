"""What a check finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong: which rule says so, where, and what."""

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: [{self.rule}] {self.text}"


class EvaluationError(Exception):
    """An expression that cannot be evaluated; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
