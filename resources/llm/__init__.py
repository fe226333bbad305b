"""Paid calls: their store, the providers, limits, prices."""
