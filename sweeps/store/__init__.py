"""Results folders: Parquet files that many processes write and read, and the tools that maintain them."""
