"""Cohorts: sets of series that are frozen, cited, compared, exported and erased from."""
