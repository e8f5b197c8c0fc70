"""The laws that every family, likelihood and fit must keep, a third party's too: see `laws`."""
