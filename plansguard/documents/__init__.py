"""JSON documents: reading with places, pydantic models, validation, file names, size limits, git revisions."""
