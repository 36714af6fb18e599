"""Modbus RTU slaves on a serial line: the driver and slaves in Python."""
