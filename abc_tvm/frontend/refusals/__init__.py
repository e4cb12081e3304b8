"""What is wrong with a model, said by name before anything is compiled."""
