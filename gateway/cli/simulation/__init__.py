"""What `gateway simulate` is made of: a plan, a configuration for it, hardware and a prompt."""
