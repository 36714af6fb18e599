"""Any board that speaks lines, declared wholly in the configuration."""
