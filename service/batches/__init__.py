"""Batches: many jobs in one request, followed, told of and canceled together."""
