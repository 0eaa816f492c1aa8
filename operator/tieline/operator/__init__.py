"""The surge operator: gives each service the replicas it needs, by custom resources.

Here belong kopf's handlers, the scaling decision (pure) and what speaks to the Kubernetes API.
Nothing that serves requests belongs here; the operator knows the services by their load reports
alone and imports none of them.
"""
