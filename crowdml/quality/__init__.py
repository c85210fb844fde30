"""Measure the quality of a crowd: agreement of the workers, and where more labels are needed."""
