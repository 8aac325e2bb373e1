"""Opens and decodes media files. For user media it runs in `model.media.sandbox`, in a process of its own, only."""
