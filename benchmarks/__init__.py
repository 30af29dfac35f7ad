"""Speed and memory, side by side; nothing here is asserted in tests."""
