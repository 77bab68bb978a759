"""What holds for every test: Hypothesis judges results, never the clock."""

from hypothesis import settings

# the parent is Hypothesis's own profile for where this runs: in CI its examples are the same each time
settings.register_profile("no clock", parent=settings.default, deadline=None)
settings.load_profile("no clock")
