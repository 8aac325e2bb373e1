"""Decodes user media in a confined child process.

`decoder` starts and watches the child; `__main__` is what the child runs, after `confinement` has taken away from it
what decoding does not need; `wire` is what both say to each other, and `ring` the memory they share.
"""
