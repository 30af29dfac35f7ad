"""Slow code in NumPy that shares nothing with what it judges."""
