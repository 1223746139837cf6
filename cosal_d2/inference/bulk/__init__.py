"""Very many pictures: workers of Ray Data, which hold the network, and shards of Parquet."""
