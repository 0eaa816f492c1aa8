"""How every method is called with one corp's ids, a module per service; for test_every_rpc."""
