"""Models: architectures, registry, weights, prediction, training and synthetic data."""
