"""What the figures of several domains have in common."""
