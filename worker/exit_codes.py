"""How a worker ends, for whoever supervises it (numbers of sysexits.h)."""

EX_SOFTWARE = 70
"""The running job did not let go in time; or, of a child, it met a bug."""

EX_CONFIG = 78
"""The settings, the weights or the face detector have to be put right first: starting again does not help."""
