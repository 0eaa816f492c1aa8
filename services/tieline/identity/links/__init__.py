"""Links between corps, and what each side shares."""
