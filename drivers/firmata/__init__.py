"""Arduino boards with StandardFirmata: the driver and a board in Python."""
