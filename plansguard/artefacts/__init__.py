"""How each heavy thing is opened cheaply and safely: checkpoints, models, preprocessed arrays. Strangers' files."""
