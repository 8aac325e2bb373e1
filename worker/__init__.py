"""One process, one GPU, one loaded pipeline: takes jobs from the queue and renders them."""
