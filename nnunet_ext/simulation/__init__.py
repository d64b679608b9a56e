"""Simulated patients as files: where their bones come from, one patient to its files, and the set's statistics."""
