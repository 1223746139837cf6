"""The web page of `cosal serve`, and the same by HTTP for programs."""
