"""The same decision against recorded or made load, beside the autoscalers that others use.

    load (shapes, traces) → requests → pods of the cluster model → measures → table, report
                                            ▲
          scalers: surge (the decision itself), HPA, KEDA, Knative's KPA

Every request is simulated: it arrives, is sent to the emptier of two replicas, waits or is refused,
is served, calls the next service, comes again when it was refused. Balancing, refusing and retrying
are the same for all scalers; a seed makes a run repeatable to the last request. Nothing here speaks
to a cluster.
"""
