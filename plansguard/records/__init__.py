"""The records that plansguard leaves of a migration, a preprocessing and a training, and whether they still hold."""
