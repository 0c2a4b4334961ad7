"""Facts about nnU-Net 2.8.1: constants, inheritance, folders, command lines, networks, installations."""
