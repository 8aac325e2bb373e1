"""Jobs: submit, follow, list, cancel, purge."""
