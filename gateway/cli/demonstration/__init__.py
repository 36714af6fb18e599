"""What `gateway demo` is made of: a broker, a witness, a story and how it is told."""
