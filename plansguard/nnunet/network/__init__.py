"""The U-Net of a configuration: parameters, GPU memory, and why weights do not load into it."""
