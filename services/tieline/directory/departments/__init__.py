"""The tree of departments: where one may be, how it is called, and what is done to it."""
