"""Does a dubbed mouth follow the sound? Metrics that need no weights, and tables of them (docs/evidence.md)."""
