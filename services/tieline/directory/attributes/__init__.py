"""Attributes that a corp gives its members, beside the fields that all have."""
