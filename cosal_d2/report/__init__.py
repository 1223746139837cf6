"""One self-contained HTML page of evaluations."""

import cosal_d2._checked  # noqa: F401

from .page import build_page

__all__ = ["build_page"]
