"""meshcrdt."""
