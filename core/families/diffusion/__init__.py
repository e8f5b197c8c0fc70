"""Models that carry noise to data along an ODE, and students that take fewer steps."""
