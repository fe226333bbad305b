"""Files, queries and data sets as pairs and labels."""
