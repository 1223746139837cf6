"""One self-contained HTML page of evaluations."""

from cosal_d2.evaluation.report.page import build_page

__all__ = ["build_page"]
