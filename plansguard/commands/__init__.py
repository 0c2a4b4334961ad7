"""What each command does, as a function. ``cli`` prints the results."""
