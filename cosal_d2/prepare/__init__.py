"""Whatever annotated pictures somebody has become a checked dataset."""
