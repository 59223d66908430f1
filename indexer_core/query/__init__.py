"""Understanding a question: filters that can be edited, and the text that is left (ADR 0029)."""
