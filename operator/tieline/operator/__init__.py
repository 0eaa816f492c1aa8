"""The surge operator: gives each service the replicas it needs, by custom resources.

Here belong kopf's handlers, the scaling decision (pure) and what speaks to the Kubernetes API.
Nothing that serves requests belongs here; the operator knows the services by their load reports
alone and imports none of them.

To read the decision, begin with `scaling_decision`, and go on in the order in which a second is
decided: `views` (what is seen: `demand`, `estimator`, `capacity`, `surge_state`, `call_graph`),
`sizing` (what is needed: `floors`, `season`, `windows`, `replica_steps`), `arbiter` (what there is
room for), `decision_words` (what people read). `policy` and `windows` read the custom resources.
"""
