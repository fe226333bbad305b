"""The page people read: figures, plots, templates."""
