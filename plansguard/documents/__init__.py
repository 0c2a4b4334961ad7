"""JSON documents: reading with places, the pydantic models, validation, names, size limits, git revisions."""
