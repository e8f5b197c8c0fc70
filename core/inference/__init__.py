"""What one can do with a fitted model: free functions on its capabilities."""
