"""Pictures of generated beside reference showers."""
