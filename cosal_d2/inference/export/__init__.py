"""The network for other engines: exporting it, and predicting without torch."""
