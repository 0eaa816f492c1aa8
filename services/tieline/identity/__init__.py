"""Identity: corps come on board, people sign in, access tokens are signed.

Owns corps with their verification, links and roles, accounts with passwords, invitations, sessions,
customers, the channels that vouch for them, apps, the signing keys, and the audit log of all
services. Members' names and departments are the directory's; who may see whom is not decided here.

A package for each subject, its rules (pure) in ``rules``, its gRPC methods in ``servicer``; ``app``
puts them together, ``repositories`` has the SQL of all.

    administration   ``corps``, ``links``, ``roles`` and ``audit``, for IdentityService through
                     ``servicer``
    a way in         ``sign_in``, ``one_time_codes``, ``qr_codes``, ``providers``, with
                     ``passwords`` and ``second_factors``: each ends at ``sign_in.entrance``, which
                     opens one of the ``sessions``
    an app           ``apps``
    a token          ``sessions.access_tokens``, signed with one of the ``signing_keys``

``acts`` writes down what was done; ``consumer`` puts every service's entries into the audit log and
takes in who left or is disabled. ``first_start`` makes the platform administrator where there is
none, ``answers`` gives other services the public keys, ``purge`` deletes what is over. ``keyring``
derives every symmetric key.

Tables without a corp, and why:

    platform_administrators   run the deployment, above all corps
    channels                  a mini-program's server vouches for people to every corp
    customers                 outside any corp: the same person for each corp that serves them
    used_assertions           belong to a channel
    qr_sign_ins               whose a waiting device will be is known by whoever scans its code
    signing_keys              tokens of all corps are signed with the same key
    app_token_failures        counts by address: what was named need not exist

``sessions`` does begin with ``corp_id``; it is empty for customers and platform administrators, who
belong to no corp. So there is one form of session and one way to refresh it. With Citus the
sessions of all customers share the empty corp's shard: a row of some 200 bytes, written once in
the life of an access token.
``audit_entries`` begins with ``corp_id`` too; it is empty for the platform's own log.
"""
