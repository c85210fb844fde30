"""Where and when cells run: grids, Ray Tune and Ray Train, resume, Parquet."""
