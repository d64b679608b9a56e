"""Simulated fractures: bones given by formulas or labels, broken, moved, and seen in a CT."""
