"""Training for exactly N optimiser steps: the schedule, its name, and a trainer that nnU-Net finds by that name."""
