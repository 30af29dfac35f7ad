"""Files to `tf.data` batches of named tensors."""
