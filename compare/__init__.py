"""Four ways to run a network that is too small for what its homes want, on the same homes and days: `limex compare`."""
