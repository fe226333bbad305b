"""Side-by-side measurements against named rivals."""
