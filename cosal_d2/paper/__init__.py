"""What reproduces the paper: Table 1, Table 2, retrieval, classical methods."""
