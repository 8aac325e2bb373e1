"""Webhooks, as their owners see them: the secret, the log of deliveries, and replay."""
