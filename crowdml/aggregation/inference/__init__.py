"""Building blocks of the aggregators: the EM loop, confusion matrices, compiled kernels, variational inference."""
