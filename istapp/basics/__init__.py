"""What everything rests on and nothing of compressive sensing is in: errors, paths and tables, progress, provenance."""
