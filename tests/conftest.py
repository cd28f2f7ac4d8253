"""Hypothesis profiles: `fast` for every run, `deep` (HYPOTHESIS_PROFILE=deep) for a search that takes its time."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("fast", max_examples=150, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "deep", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)


settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
