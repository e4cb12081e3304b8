"""Which values tensors take with a probability above zero."""
