"""How rules are declared, what they may ask for, and how they are run."""
