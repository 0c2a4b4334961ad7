"""Every command that plansguard prints, typed as printed in the state that printed it."""
