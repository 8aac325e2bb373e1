"""Chaos: a real stack under random kills, and a count of what came of the jobs that it had accepted."""
