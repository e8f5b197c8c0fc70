"""What can be done with a fitted model: free functions on its capabilities."""
