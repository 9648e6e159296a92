"""The mark on every container these tests start, by which those of a run that was cut short are found and removed."""

LABEL = "k2.test=images"
