"""The platform from outside, as processes of its own."""
