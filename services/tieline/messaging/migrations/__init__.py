"""The schema ``messaging``, one plain SQL file per step."""
