"""GPS receivers that talk NMEA 0183: the driver and a receiver in Python."""
