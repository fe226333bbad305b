"""Dagster assets: what exists in the lake, one module per stage of the paper."""
