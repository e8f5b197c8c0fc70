"""The embedded simulator: GFLASH, its parametrisation and the calorimeters it knows."""
