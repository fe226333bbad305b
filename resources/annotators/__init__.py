"""People who verify pairs."""
