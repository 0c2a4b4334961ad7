"""The U-Net of a configuration: parameters, memory, and why weights do not load into it."""
