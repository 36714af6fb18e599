"""The bench board: firmware for an ATmega328P, its driver and its simulator."""
