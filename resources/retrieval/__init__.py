"""Vectors and their indexes."""
