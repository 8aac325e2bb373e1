"""From a voice to the features that move the lips."""
