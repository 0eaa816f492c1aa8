"""The keys that sign access tokens: kept encrypted, published, replaced by ``rotation``."""
