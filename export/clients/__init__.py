"""Clients of what is served: NumPy and the standard library suffice."""
