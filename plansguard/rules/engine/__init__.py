"""Declaration of rules, their needs, and how they are run."""
