"""The Ray cluster that a sweep runs on."""
