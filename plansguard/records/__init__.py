"""The records that plansguard writes of a migration, a preprocessing and a training, and whether they still apply."""
