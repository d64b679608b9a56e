"""Experiment planning: nnU-Net's planners with our configurations, and the settings that small machines need."""

__all__: list[str] = []
