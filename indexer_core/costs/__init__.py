"""What an index on Azure costs: counts by the code, prices by the list, both open to change."""
