"""The HTTP face of the service: validate, authorise, store, enqueue, present. Never imports torch."""
