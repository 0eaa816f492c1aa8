"""Apps of corps: their ``secrets``, rights and ``tokens``."""
