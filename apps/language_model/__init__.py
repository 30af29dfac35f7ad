"""Language models: what the tokens before say of the next."""
