"""Staff lists as files: from bytes to records, from those to changes, in batches and jobs.

An import begins by a ``call`` (its caller waits) or by a ``worker`` (a job of ``servicer``);
``stream`` takes a file while it arrives, ``files`` a whole one. ``csv_rows`` and ``xlsx_rows`` make
records of bytes, ``member_rows`` rows of those, ``batches`` say what of them to write, ``nodes``
how full departments are, ``writes`` carries one batch out. A dry run is a ``preview``; a file of
departments goes through ``department_import``.
"""
