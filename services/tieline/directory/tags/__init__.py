"""Tags: sets of members and departments, for apps and for rules of visibility."""
