"""The installed nnU-Net, its trainers and this machine's GPUs, found without importing any of it."""
