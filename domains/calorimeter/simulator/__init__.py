"""The embedded simulator: GFLASH, its parametrisation and its calorimeters."""
