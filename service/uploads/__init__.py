"""Uploads: where a client without a web server puts its files."""
