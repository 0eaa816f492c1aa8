"""What every gRPC call passes before and after its handler.

``call_interceptor`` is the one interceptor that the server knows. It wraps each method once and
then walks these modules in a fixed order, without a wrapper a concern: an empty call through all of
them must keep 0.7 of the bare rate, and each wrapper costs a coroutine.

    call_metadata   what of its metadata several of them read
    arrivals        what is known of a call before its turn comes
    request_ids     name the call
    tracing         continue its trace, or begin one for the sampled few
    (health)        refuse what can't be done now
    (deadline)      refuse what nobody waits for any more
    (authentication) who calls
    access          may they
    error_mapping   failures as google.rpc.Status
    request_stream  what a refused caller still sends is read and dropped
    call_metrics    how many, how long
    access_log      failures, slow calls, sampled successes

Here belongs what is true of every method of every service; nothing that knows one of them.
"""
