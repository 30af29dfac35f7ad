"""Images as codes: autoencoders, priors over their codes, and samples."""
