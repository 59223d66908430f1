"""What the Functions host imports: it takes the stem of one root file (see docs/adr/0001)."""

from function_app.app import app

__all__ = ["app"]
