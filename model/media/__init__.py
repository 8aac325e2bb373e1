"""Video and sound, in and out, through PyAV: guarded, streaming, exact in time."""
