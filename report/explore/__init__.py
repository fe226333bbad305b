"""A local page to look at the pairs of a lake."""
