"""What a repair has done: what is whole again, what is lost and how to get it back."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something that no file holds any more. how: what brings it back, or that nothing does."""

    what: str
    how: str


@dataclass(slots=True)
class RepairReport:
    """The outcome of a repair.

    Parameters
    ----------
    restored
        What is whole again, a line each.
    set_aside
        Names under which damaged files were kept.
    n_rearmed
        Series that are indexed again from their files.
    """

    restored: list[str] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    n_rearmed: int = 0

    def lose(self, what: str, how: str) -> None:
        """Say that something is lost."""
        self.lost.append(Loss(what=what, how=how))

    @property
    def did_nothing(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.restored or self.lost or self.set_aside or self.n_rearmed)
