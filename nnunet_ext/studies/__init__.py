"""Studies: one file that names data, a grid of trainings and a test set, run as a whole and read in a table."""

__all__: list[str] = []
