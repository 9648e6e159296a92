"""Alert rules: read with the place of everything in them, validated against the metrics that exist, watched live."""
