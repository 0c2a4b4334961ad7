"""Moving plans from one dataset to another: plan the steps, show them, carry them out, take them back."""
