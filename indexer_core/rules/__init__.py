"""Header understanding: declarative rules that turn series facts into a classification."""

from indexer_core.rules.engine import classify
from indexer_core.rules.loader import load_rules
from indexer_core.rules.model import BodyPart, Classification, Evidence, Vote
from indexer_core.rules.ruleset import Rules

__all__ = ["BodyPart", "Classification", "Evidence", "Rules", "Vote", "classify", "load_rules"]
