"""The subjects of rules: datasets, plans, pairs, trainings, plannings, predictions and weights."""
