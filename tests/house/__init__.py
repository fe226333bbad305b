"""The house itself: its rules, names, weight and workshop."""
