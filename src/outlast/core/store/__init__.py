"""The interface between Outlast and its stores: protocols of broker, records, control, schedules and guards."""
