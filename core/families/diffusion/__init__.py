"""Models that carry noise to data along a path in time."""
