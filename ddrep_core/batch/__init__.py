"""Many jobs: read from a table, checked whole, run by one worker a device, shown on one page (docs/batch.md)."""
