"""Between showers and tensors: the codec, the law of each voxel by itself, layers as a table, symmetries."""
