"""PG7xx: commands of nnU-Net that are about to start."""
