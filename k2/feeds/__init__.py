"""Where records come from: captures, CSV files, US equity ticks, the synthetic exchange. Talks to no server."""
