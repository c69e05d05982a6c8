"""Stands in for the engine in tests of the extension: same command line, same job folder, no sampling."""
