"""What the metrics of several domains have in common: two samples compared, and what is judged by it."""
