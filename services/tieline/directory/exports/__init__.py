"""A corp's directory as a file that an import reads back: ``rows`` of it, and the ``files``."""
