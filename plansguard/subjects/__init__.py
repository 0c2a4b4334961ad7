"""What a rule is given: datasets, plans, pairs, trainings, plannings, predictions and weights."""
