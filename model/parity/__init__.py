"""Proof that this implementation computes what the published one does: `python -m model.parity DIR [--salt TEXT]`.

DIR holds numbers the published implementation gave for networks and inputs drawn by rule (`rules.py`) under a salt.
Each group of checks computes the same things here and says how far they are apart.
"""
