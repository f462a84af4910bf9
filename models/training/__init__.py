"""Training and evaluation of the models on labelled images."""
