"""What others see of a run: counts, live view, run records, Ray metrics, TensorBoard."""
