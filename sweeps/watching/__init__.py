"""What is seen of a run: counts, live view, records for others, Ray metrics, TensorBoard."""
