"""PG2xx: dataset.json: the copy that training reads, compared with the raw data, and its labels and channels."""
