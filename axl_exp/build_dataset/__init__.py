"""Text, jsonl or parquet files as a TFDS dataset that `axl_exp.data` reads."""
