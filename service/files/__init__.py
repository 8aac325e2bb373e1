"""Files of a local storage, by signed links; a bucket serves its own."""
