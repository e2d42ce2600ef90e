"""Two faces in, one split screen out."""
