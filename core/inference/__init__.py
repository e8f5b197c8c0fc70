"""What one can do with a model: free functions on its capabilities."""
