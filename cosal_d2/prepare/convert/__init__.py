"""Annotated pictures of other formats become co-saliency datasets: a module a format."""
