"""Scores of predictions that live in files, and how people look at them: plots, and a page of overlays."""

__all__: list[str] = []
