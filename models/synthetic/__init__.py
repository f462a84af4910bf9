"""Synthetic cardiac images with known truth: numpy only, drawn from a seed."""
