"""Programs: `python -m apps.<task>.<verb>`."""
