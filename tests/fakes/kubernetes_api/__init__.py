"""A Kubernetes API server for tests: real HTTP, kept in memory.

It has what the operator depends on and kmock lacks: uid, resourceVersion and generation, conflicts,
the subresources scale and status, label selectors, watches with bookmarks and 410, custom resource
definitions with defaults, pruning, schema and CEL rules, faults on demand, and Deployments behind
which pods start. ``tests/integration/operator/test_on_cluster.py`` runs on it, and with
``make test-cluster`` on a real cluster.
"""
