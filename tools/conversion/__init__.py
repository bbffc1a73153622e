"""What tools/convert.py is made of."""
