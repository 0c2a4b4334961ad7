"""What nnU-Net 2.8.1 knows and does: constants, inheritance, folders, command lines, networks, installations."""
