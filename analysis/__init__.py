"""Tables, figures and statistics of a results folder.  Does not import ray or torch."""
