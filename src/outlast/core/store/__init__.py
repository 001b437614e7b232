"""The seam between Outlast and its stores: broker, records, control and schedules, each a protocol of its own."""
