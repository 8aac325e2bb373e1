"""Training of the networks (docs/training.md)."""
