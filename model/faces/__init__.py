"""Faces: found in pictures, followed through shots, boxed for the networks."""
