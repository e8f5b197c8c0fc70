"""Laws that any family and any plug-in inherits."""
