"""Programs that serve what was trained, and clients of what is served."""
