"""Settings of all tests. Time never decides a test, so Hypothesis keeps no deadline for one example."""

from hypothesis import settings

settings.register_profile("requorum", deadline=None, print_blob=True)
settings.load_profile("requorum")
