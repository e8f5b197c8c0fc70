"""The laws that every family inherits, a third party's too: see `laws`."""
