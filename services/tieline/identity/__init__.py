"""Identity: corps come on board, people sign in, access tokens are signed.

Owns corps with their verification, links and roles, accounts with passwords, invitations, sessions,
customers, the channels that vouch for them, apps, the signing keys, and the audit log of all
services. Members' names and departments are the directory's; who may see whom is not decided here.

A request meets the modules in this order: a servicer (``servicer``, which passes administration on
to ``rpcs``, ``member_sign_in_servicer``, ``customer_sign_in_servicer``,
``second_factor_servicer``, ``sign_in_provider_servicer``); what carries a way in out
(``inviting``, ``sign_in``, ``code_sign_in``, ``provider_sign_in``, ``qr_sign_in``,
``password_change``, ``second_factor``); the rules (``corps``, ``corp_life``, ``verifications``,
``corp_links``, ``roles``, ``audit_log``, ``invitations``, ``passwords``, ``assertions``,
``refresh_tokens``, ``one_time_codes``, ``totp``, ``providers``, ``qr_sign_ins``, ``lockout``);
``repositories``. Members get in through ``entrance`` alone, which asks for the second factor;
``attempts`` holds guessers back; ``session_issuer`` and ``access_tokens`` make what they get.
``ways_in`` puts this together.

Sessions (``session_servicer``), apps (``app_servicer``: ``apps``, ``app_secrets``, ``app_changes``,
``app_tokens``) and ``signing_key_servicer`` are gRPC services of their own. Whatever ends a session
or changes what somebody may do voids access tokens by ``revocations``; ``key_rotation`` makes and
replaces the signing keys.

``acts`` writes down what was done; ``consumer`` puts every service's entries into the audit log and
takes in who left or is disabled. ``first_start`` makes the platform administrator where there is
none, ``platform_administrators`` is what the command line does to them, ``answers`` gives other
services the public keys, ``delivery`` sends one-time codes, ``purge`` deletes what is over.
``keyring`` derives every symmetric key.

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
