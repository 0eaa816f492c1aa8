"""Who administers what: grants, ``invitations``, and those who run the deployment."""
