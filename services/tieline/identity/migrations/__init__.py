"""Plain SQL, applied in the order of its numbers by the chassis; never edited once released."""
