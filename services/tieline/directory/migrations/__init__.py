"""The directory's migrations, applied in the order of their numbers."""
