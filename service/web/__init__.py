"""The studio page: what an editor sees at `/`."""
