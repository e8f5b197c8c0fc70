"""HDF5 files of any domain: arrays by name whose first axis counts samples, written in blocks and read by rows."""
