"""Talking heads made by rule, with ground truth: what each mouth does is known because it was drawn."""
