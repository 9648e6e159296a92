"""The statements, by library: data, read by k2.resilience.failures and printed as docs/error-classes.md."""

from k2.resilience.rules import catalog, iceberg, kafka, object_store, platform, redis, registry, system

RULES = (
    *platform.RULES,
    *kafka.RULES,
    *registry.RULES,
    *iceberg.RULES,
    *catalog.RULES,
    *object_store.RULES,
    *redis.RULES,
    *system.RULES,
)
