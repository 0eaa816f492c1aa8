"""Identity: corps come on board, people sign in, access tokens are signed.

Owns corps with their verification, links and roles, accounts with passwords, invitations, sessions,
customers, the channels that vouch for them, apps, the signing keys, and the audit log of all
services. Members' names and departments are the directory's; who may see whom is not decided here.

A request meets the modules in this order: ``servicer``, which passes it on to ``rpcs`` (corps and
their administration), ``inviting``, or ``sign_in`` (everything that ends in a session); the rules
(``corps``, ``corp_life``, ``verifications``, ``corp_links``, ``roles``, ``audit_log``,
``invitations``, ``passwords``, ``assertions``, ``refresh_tokens``); ``repositories``;
``session_issuer`` and ``access_tokens``. ``acts`` writes down what was done, ``consumer`` puts
every service's entries into the audit log. Sessions (``session_servicer``), apps (``app_servicer``:
``apps``, ``app_secrets``, ``app_changes``, ``app_tokens``) and ``signing_key_servicer`` are gRPC
services of their own. Whatever ends a session or changes what somebody may do voids access tokens
by ``revocations``. ``key_rotation`` makes and replaces the signing keys, ``first_start`` the
platform administrator where there is none, ``answers`` gives other services the public keys and the
apps' ranges, ``purge`` deletes what is over. ``keyring`` derives every symmetric key.

``audit_entries`` begins with ``corp_id`` too; it is empty for the platform's own log.

Tables without a corp, and why:

    platform_administrators   run the deployment, above all corps
    channels                  a mini-program's server vouches for people to every corp
    customers                 outside any corp: the same person for each corp that serves them
    used_assertions           belong to a channel
    signing_keys              tokens of all corps are signed with the same key
    app_token_failures        counts by address: what was named need not exist

``sessions`` does begin with ``corp_id``; it is empty for customers and platform administrators, who
belong to no corp. So there is one form of session and one way to refresh it. With Citus the
sessions of all customers share the empty corp's shard: a row of some 200 bytes, written once in
the life of an access token.
"""
