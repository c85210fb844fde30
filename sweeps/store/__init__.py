"""Results folders: Parquet that many processes write and read, and what looks after them."""
