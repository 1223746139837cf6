"""The networks of the paper's Table 2 as decoders. Importing this registers them."""
