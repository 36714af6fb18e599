"""A barcode scanner that shows itself as a USB keyboard: its driver and its simulator."""
