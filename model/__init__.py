"""The HighSync model as a library: files and tensors in and out. Knows no job, no environment, no network."""
