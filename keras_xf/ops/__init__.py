"""Arithmetic as pure functions of tensors; weights and seeds come in."""
